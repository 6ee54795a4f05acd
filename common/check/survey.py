"""Every image of a folder read once, on all cores."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.check.facts import ImageFacts, facts_of
from fedthorax.common.check.facts_store import FactsStore, facts_key
from fedthorax.common.config.data import CT_WINDOWS, CtWindow
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.pixels.decode import Modality, decode_frames, read_content
from fedthorax.common.records.records import BadFile, ImageRef

Progress = Callable[[int, int], None]

_WRITE_EVERY = 200  # images between two writes of the store: about what a kill costs
_AHEAD = 4  # files a core handed to the pool beyond what has come back, so that what was read does not pile up


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
            for refs, reading in self._read_all(to_read, self.store.keys()):
                done += len(refs)
                if isinstance(reading, BadFile):  # the whole file
                    unreadable.append(reading)
                else:
                    for ref, key, found in reading.frames:
                        fact = found or fresh.get(key) or self.store.get(key) or self._read_again(ref)
                        num_decoded += found is not None
                        if isinstance(fact, BadFile):
                            unreadable.append(fact)
                        else:
                            facts[ref] = fresh[key] = fact
                    files.append((str(refs[0].path.absolute()), reading.state, reading.content_hash))
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
    ) -> Iterator[tuple[Sequence[ImageRef], _Reading | BadFile]]:
        cores = num_cpus()
        pool = ThreadPoolExecutor(max_workers=cores, thread_name_prefix="check")
        waiting: list[tuple[Sequence[ImageRef], Future[_Reading | BadFile]]] = []
        try:
            for refs in to_read:
                waiting.append((refs, pool.submit(self._read, refs, known)))
                if len(waiting) > _AHEAD * cores:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for rest, future in waiting:
                yield rest, future.result()
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

    def _read_again(self, image: ImageRef) -> ImageFacts | BadFile:
        """The facts of an image whose row in the store is damaged."""
        reading = self._read([image], frozenset())
        if isinstance(reading, BadFile):
            return reading
        fact = reading.frames[0][2]
        return BadFile(image.path, "changed while it was read", image.frame) if fact is None else fact

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
