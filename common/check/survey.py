"""Every image of a folder read once, on all cores."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.check.facts import ImageFacts, facts_of
from fedthorax.common.check.facts_store import FactsStore, facts_key
from fedthorax.common.data.decode import try_decode
from fedthorax.common.data.records import BadFile

Progress = Callable[[int, int], None]

_WRITE_EVERY = 200  # images between two writes of the store: about what a kill costs
_AHEAD = 64  # files handed to the pool beyond what has come back, so that decoded pictures do not pile up
_MAGICS = (b"\x89PNG", b"\xff\xd8\xff", b"\x1f\x8b")  # PNG, JPEG, gzip as in .nii.gz


@dataclass(frozen=True)
class UnreadableFile:
    """``code`` is file-no-permission, file-truncated or file-not-an-image."""

    path: Path
    code: str
    reason: str


@dataclass(frozen=True)
class Survey:
    """``facts`` by path; a path is either there or in ``unreadable``. ``num_read`` files had to be decoded."""

    facts: dict[Path, ImageFacts]
    unreadable: tuple[UnreadableFile, ...]
    num_read: int


@dataclass(frozen=True)
class _Reading:
    state: str
    key: str
    facts: ImageFacts | None  # None where the store has them already


def survey(paths: Sequence[Path], store: FactsStore, progress: Progress | None = None) -> Survey:
    """The facts of ``paths``, from ``store`` where it has them; ``progress`` gets files done and all files."""
    known_files, known_keys = store.files(), store.keys()
    facts: dict[Path, ImageFacts] = {}
    unreadable: list[UnreadableFile] = []
    to_read: list[Path] = []
    for path in paths:
        known = known_files.get(str(path.absolute()))
        stored = store.get(known[1]) if known is not None and known[0] == _state(path) else None
        if stored is None:
            to_read.append(path)
        else:
            facts[path] = stored
    done, fresh, files = len(facts), dict[str, ImageFacts](), list[tuple[str, str, str]]()
    try:
        for path, reading in _read_all(to_read, known_keys):
            done += 1
            if isinstance(reading, UnreadableFile):
                unreadable.append(reading)
            else:
                found = reading.facts or store.get(reading.key)
                if found is None:  # The row was damaged since its key was listed.
                    again = _read(path, frozenset())
                    found = again.facts if isinstance(again, _Reading) else None
                if found is not None:
                    facts[path] = fresh[reading.key] = found
                    files.append((str(path.absolute()), reading.state, reading.key))
            if len(files) >= _WRITE_EVERY:
                store.add(fresh, files)
                fresh, files = {}, []
            if progress is not None:
                progress(done, len(paths))
    finally:
        store.add(fresh, files)
    return Survey(facts, tuple(unreadable), len(to_read))


def unreadable_code(path: Path, content: bytes | None = None) -> str:
    """Why a file that could not be decoded could not: by permission, by its beginning, else by damage."""
    if content is None:
        try:
            content = path.read_bytes()
        except PermissionError:
            return "file-no-permission"
        except OSError:
            return "file-truncated"
    if not content or content[128:132] == b"DICM" or content.startswith(_MAGICS):
        return "file-truncated"
    return "file-not-an-image"


def _read_all(paths: Sequence[Path], known: frozenset[str]) -> Iterator[tuple[Path, "_Reading | UnreadableFile"]]:
    pool = ThreadPoolExecutor(max_workers=_num_cores(), thread_name_prefix="check")
    try:
        waiting = []
        for path in paths:
            waiting.append((path, pool.submit(_read, path, known)))
            if len(waiting) > _AHEAD:
                first, future = waiting.pop(0)
                yield first, future.result()
        for path, future in waiting:
            yield path, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(path: Path, known: frozenset[str]) -> "_Reading | UnreadableFile":
    state = _state(path)
    try:
        content = path.read_bytes()
    except PermissionError:
        return UnreadableFile(path, "file-no-permission", "may not be read by this user (permission denied)")
    except OSError as error:
        return UnreadableFile(path, "file-truncated", f"could not be read from the disk ({error.strerror})")
    key = facts_key(hashlib.blake2b(content, digest_size=20).hexdigest(), 0)
    if key in known:
        return _Reading(state, key, None)
    image = try_decode(path)
    if isinstance(image, BadFile):
        return UnreadableFile(path, unreadable_code(path, content), image.reason)
    return _Reading(state, key, facts_of(image, content, path))


def _state(path: Path) -> str:
    """Changes when the file is written or replaced; empty if it cannot be looked at."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_mtime_ns} {state.st_size} {state.st_ino}"


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
