"""Every image of a folder read once, on all cores."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.check.facts import ImageFacts, facts_of
from fedthorax.common.check.facts_store import FactsStore, facts_key
from fedthorax.common.config.data import CT_WINDOWS, CtWindow
from fedthorax.common.data.decode import Modality, decode_frames, read_content
from fedthorax.common.data.records import BadFile, ImageRef

Progress = Callable[[int, int], None]

_WRITE_EVERY = 200  # images between two writes of the store: about what a kill costs
_AHEAD = 16  # files handed to the pool beyond what has come back, so that what was read does not pile up


@dataclass(frozen=True)
class Survey:
    """An image is either in ``facts`` or in ``unreadable``. ``num_decoded`` images were not in the store."""

    facts: dict[ImageRef, ImageFacts]
    unreadable: tuple[BadFile, ...]
    num_decoded: int


@dataclass(frozen=True)
class _Reading:
    """One file: for each wanted frame its key, and its facts unless the store has them already."""

    state: str
    content_hash: str
    frames: tuple[tuple[ImageRef, str, ImageFacts | BadFile | None], ...]


@dataclass(frozen=True)
class Surveyor:
    """Reads images of one ``modality`` (None: whatever they are), shown through ``ct_windows``."""

    store: FactsStore
    modality: Modality | None = None
    ct_windows: tuple[CtWindow, ...] = CT_WINDOWS

    def survey(self, images: Sequence[ImageRef], progress: Progress | None = None) -> Survey:
        """The facts of ``images``, from the store where it has them; ``progress`` gets images done and all images."""
        frames: dict[Path, list[ImageRef]] = {}
        for image in images:
            frames.setdefault(image.path, []).append(image)
        facts: dict[ImageRef, ImageFacts] = {}
        to_read: list[list[ImageRef]] = []
        known_files = self.store.files()
        for path, refs in frames.items():
            state, content_hash = known_files.get(str(path.absolute()), ("", ""))
            stored = {}
            if state and state == _state(path):
                stored = {ref: self.store.get(self._key(content_hash, ref)) for ref in refs}
            if stored and None not in stored.values():
                facts |= {ref: fact for ref, fact in stored.items() if fact is not None}
            else:
                to_read.append(refs)
        return self._read_rest(facts, to_read, len(images), progress)

    def _read_rest(
        self, facts: dict[ImageRef, ImageFacts], to_read: list[list[ImageRef]], total: int, progress: Progress | None
    ) -> Survey:
        unreadable: list[BadFile] = []
        fresh, files = dict[str, ImageFacts](), list[tuple[str, str, str]]()
        num_decoded, done = 0, len(facts)
        try:
            for path, reading in self._read_all(to_read, self.store.keys()):
                if isinstance(reading, BadFile):  # the whole file: its frames come one by one only if it opens
                    unreadable.append(reading)
                    done += 1
                    continue
                for ref, key, found in reading.frames:
                    done += 1
                    if isinstance(found, BadFile):
                        unreadable.append(found)
                        continue
                    num_decoded += found is not None
                    fact = found or fresh.get(key) or self.store.get(key)
                    if fact is None:
                        raise OSError(f"{path}: its entry in the check's cache was damaged meanwhile; check again")
                    facts[ref] = fact
                    if found is not None:
                        fresh[key] = found
                files.append((str(path.absolute()), reading.state, reading.content_hash))
                if len(files) >= _WRITE_EVERY:
                    self.store.add(fresh, files)
                    fresh, files = {}, []
                if progress is not None:
                    progress(done, total)
        finally:
            self.store.add(fresh, files)
        return Survey(facts, tuple(unreadable), num_decoded)

    def _read_all(
        self, to_read: Sequence[Sequence[ImageRef]], known: frozenset[str]
    ) -> Iterator[tuple[Path, _Reading | BadFile]]:
        pool = ThreadPoolExecutor(max_workers=_num_cores(), thread_name_prefix="check")
        waiting: list[tuple[Path, Future[_Reading | BadFile]]] = []
        try:
            for refs in to_read:
                waiting.append((refs[0].path, pool.submit(self._read, refs, known)))
                if len(waiting) > _AHEAD:
                    path, future = waiting.pop(0)
                    yield path, future.result()
            for path, future in waiting:
                yield path, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, refs: Sequence[ImageRef], known: frozenset[str]) -> _Reading | BadFile:
        """All wanted frames of one file."""
        path = refs[0].path
        state = _state(path)
        content = read_content(path)
        if isinstance(content, BadFile):
            return content
        content_hash = hashlib.blake2b(content, digest_size=20).hexdigest()
        keys = {ref: self._key(content_hash, ref) for ref in refs}
        wanted = [ref for ref in refs if keys[ref] not in known]
        pictures = decode_frames(path, content, [ref.frame for ref in wanted], self.modality, self.ct_windows)
        found = {
            ref: picture if isinstance(picture, BadFile) else facts_of(picture, content)
            for ref, picture in zip(wanted, pictures, strict=True)
        }
        return _Reading(state, content_hash, tuple((ref, keys[ref], found.get(ref)) for ref in refs))

    def _key(self, content_hash: str, image: ImageRef) -> str:
        windows = [(window.center, window.width) for window in self.ct_windows]
        return facts_key(content_hash, image.frame, f"{self.modality} {windows}")


def _state(path: Path) -> str:
    """Changes when the file is written or replaced; empty if it cannot be looked at."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_mtime_ns} {state.st_size} {state.st_ino}"


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
