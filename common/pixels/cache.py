"""Decoded images, once: in memory, in a file beyond that, and on disk for the next run."""

import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import CT_WINDOWS, CacheConfig, CtWindow
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.pixels.decode import Modality, decode_frames, fit_square, pixel_digest, read_content
from fedthorax.common.pixels.disk_cache import DiskCache, Entry, FileState, Place, Shard, checksum, file_state, hash_of
from fedthorax.common.records.records import BadFile, ImageRef

# Part of every key: to be raised when decoding or resizing changes, so that no run mixes old pictures with new ones.
_DECODING_VERSION = 6

# Whose new versions may decode a few pixels otherwise.
_LIBRARIES = ("numpy", "pillow", "pydicom", "python-gdcm", "pylibjpeg-openjpeg", "pyjpegls", "nibabel")

# Squares between two writings of the index: what a killed process loses at most.
_BATCH = 256

_memory_lock = threading.Lock()
_memory_in_use = 0


@dataclass(frozen=True)
class DecodedImages:
    """``images`` is uint8 (N, S, S, 3), read-only; row i is the picture ``kept[i]`` of the call."""

    images: NDArray[np.uint8]
    kept: tuple[int, ...]
    digests: tuple[str, ...]
    bad: tuple[BadFile, ...]


@dataclass(frozen=True)
class _Preprocessing:
    image_size: int
    aspect: Literal["pad", "squash"]
    modality: Modality | None
    ct_windows: tuple[CtWindow, ...]

    def finished(self, picture: NDArray[np.uint8]) -> "_Decoded":
        return _Decoded(fit_square(picture, self.image_size, self.aspect), pixel_digest(picture))

    def key(self, content: bytes, frame: int | None) -> bytes:
        """Of the square that comes of a file of this content: another key for whatever may change it."""
        windows = [(window.center, window.width) for window in self.ct_windows] if self.modality != "xray" else []
        facts = (_versions(), self.image_size, self.aspect, self.modality, windows, frame)
        return hash_of(content, repr(facts).encode())


@dataclass(frozen=True)
class _Decoded:
    square: NDArray[np.uint8]
    digest: str


_Result = _Decoded | Place | BadFile


def decode_all(
    images: Sequence[Path | ImageRef],
    image_size: int,
    aspect: Literal["pad", "squash"],
    cache: CacheConfig,
    progress: Callable[[int], None] | None = None,
    modality: Modality | None = None,
    ct_windows: Sequence[CtWindow] = CT_WINDOWS,
) -> DecodedImages:
    """All readable pictures of ``images`` in this order, decoded on all cores of the process.

    With ``cache.folder``, squares and digests are kept there for the next run (``DiskCache``), readable by their owner
    only, and the result is mapped from there where its rows lie together, as they do if the same pictures were asked
    for before. Otherwise they are held in memory while the process stays within ``cache.memory_mb``, else in a file
    without a name in ``cache.folder`` or the system's temporary folder, which the system removes with the process.
    More pictures than ``cache.disk_gb`` holds are not kept. ``progress`` is called with the number of pictures done.

    Raises OSError if the folder cannot be written.
    """
    refs = [image if isinstance(image, ImageRef) else ImageRef(image) for image in images]
    preprocessing = _Preprocessing(image_size, aspect, modality, tuple(ct_windows))
    report = progress or (lambda _: None)
    with ThreadPoolExecutor(max_workers=num_cpus(), thread_name_prefix="decode") as pool:
        try:
            if cache.folder is None or cache.disk_gb == 0 or not refs:
                return _without_disk(refs, preprocessing, cache, report, pool)
            with closing(DiskCache(cache.folder / "decoded", image_size, int(cache.disk_gb * 2**30))) as disk:
                return _with_disk(refs, preprocessing, cache, disk, report, pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _without_disk(
    refs: Sequence[ImageRef],
    preprocessing: _Preprocessing,
    cache: CacheConfig,
    report: Callable[[int], None],
    pool: ThreadPoolExecutor,
) -> DecodedImages:
    squares = _allocate((len(refs), preprocessing.image_size, preprocessing.image_size, 3), cache)
    kept: list[int] = []
    digests: list[str] = []
    bad: list[BadFile] = []
    groups = pool.map(lambda group: _decode_group(group, preprocessing, None), _by_file(refs))
    for index, result in enumerate(result for group in groups for result in group.results):
        if isinstance(result, BadFile):
            bad.append(result)
        elif isinstance(result, _Decoded):
            squares[len(kept)] = result.square
            kept.append(index)
            digests.append(result.digest)
        report(index + 1)
    squares = squares[: len(kept)]
    squares.flags.writeable = False
    return DecodedImages(squares, tuple(kept), tuple(digests), tuple(bad))


def _with_disk(
    refs: Sequence[ImageRef],
    preprocessing: _Preprocessing,
    cache: CacheConfig,
    disk: DiskCache,
    report: Callable[[int], None],
    pool: ThreadPoolExecutor,
) -> DecodedImages:
    states = dict(zip(paths := list(dict.fromkeys(ref.path for ref in refs)), pool.map(file_state, paths), strict=True))
    contents = disk.contents(state for state in states.values() if state is not None)
    keys = [
        preprocessing.key(contents[state.path], ref.frame)
        if (state := states[ref.path]) is not None and state.path in contents
        else None
        for ref in refs
    ]
    found = disk.places({key for key in keys if key is not None})
    results = _hits(keys, found, disk, pool)
    missing = [index for index, result in enumerate(results) if result is None]
    if len(missing) < len(refs):
        report(len(refs) - len(missing))
    if missing:
        in_use = {result.shard for result in results if isinstance(result, Place)}
        shard = disk.new_shard(len(missing), in_use)
        if shard is None:
            return _without_disk(refs, preprocessing, cache, report, pool)
        _fill(shard, missing, refs, preprocessing, disk, states, results, report, pool)
    return _assemble(results, preprocessing, cache, disk)


def _hits(
    keys: Sequence[bytes | None],
    found: Mapping[bytes, Sequence[Place]],
    disk: DiskCache,
    pool: ThreadPoolExecutor,
) -> list[_Result | None]:
    """The place of each key whose square is whole, the next row of the same shard where there is a choice."""
    results: list[_Result | None] = []
    before: Place | None = None
    for key in keys:
        choice = found.get(key, ()) if key is not None else ()
        following = [p for p in choice if before is not None and (p.shard, p.row) == (before.shard, before.row + 1)]
        place = next(iter((*following, *choice)), None)
        results.append(place)
        before = place or before
    wanted = list(dict.fromkeys(place for place in results if isinstance(place, Place)))
    parts = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
    damaged = {p for part in pool.map(lambda part: [p for p in part if disk.square(p) is None], parts) for p in part}
    if damaged:
        disk.forget(damaged)
    return [None if isinstance(place, Place) and place in damaged else place for place in results]


def _fill(
    shard: Shard,
    missing: Sequence[int],
    refs: Sequence[ImageRef],
    preprocessing: _Preprocessing,
    disk: DiskCache,
    states: Mapping[Path, FileState | None],
    results: list[_Result | None],
    report: Callable[[int], None],
    pool: ThreadPoolExecutor,
) -> None:
    """Decode what is missing into ``shard`` and say in ``results`` where it lies."""
    waiting: list[Entry] = []
    known: dict[FileState, bytes] = {}
    row, place_in_all = 0, iter(missing)
    done = len(refs) - len(missing)
    try:
        for group in pool.map(
            lambda group: _decode_group(group, preprocessing, disk), _by_file([refs[index] for index in missing])
        ):
            for result in group.results:
                index = next(place_in_all)
                results[index] = result
                if isinstance(result, _Decoded):
                    shard.squares[row] = result.square
                    entry = Entry(
                        row,
                        preprocessing.key(group.content, refs[index].frame),
                        group.content,
                        result.digest,
                        checksum(result.square),
                    )
                    results[index] = Place(shard.name, row, entry.digest, entry.checksum)
                    waiting.append(entry)
                    row += 1
                if not isinstance(result, BadFile) and (state := states[refs[index].path]) is not None:
                    known[state] = group.content
                done += 1
                report(done)
            if len(waiting) >= _BATCH:
                disk.add(shard, waiting, known)
                waiting, known = [], {}
    finally:
        try:
            disk.add(shard, waiting, known)
        finally:
            disk.finish(shard, row)


def _assemble(
    results: Sequence[_Result | None], preprocessing: _Preprocessing, cache: CacheConfig, disk: DiskCache
) -> DecodedImages:
    kept = [index for index, result in enumerate(results) if isinstance(result, Place)]
    places = [result for result in results if isinstance(result, Place)]
    bad = tuple(result for result in results if isinstance(result, BadFile))
    digests = tuple(place.digest for place in places)
    shards = dict.fromkeys(place.shard for place in places)
    disk.used(shards)
    first = places[0] if places else None
    together = first is not None and all(
        place.shard == first.shard and place.row == first.row + n for n, place in enumerate(places)
    )
    if first is not None and together and (mapped := disk.squares(first.shard)) is not None:
        return DecodedImages(mapped[first.row : first.row + len(places)], tuple(kept), digests, bad)
    squares = _allocate((len(places), preprocessing.image_size, preprocessing.image_size, 3), cache)
    for row, place in enumerate(places):
        source = disk.squares(place.shard)
        if source is None:
            raise OSError(f"{cache.folder}: the cache was removed while it was read; start again")
        squares[row] = source[place.row]
    squares.flags.writeable = False
    return DecodedImages(squares, tuple(kept), digests, bad)


def _by_file(refs: Sequence[ImageRef]) -> list[list[ImageRef]]:
    """Pictures of one file that follow each other are decoded together: a volume is unpacked once."""
    return [list(group) for _, group in groupby(refs, key=lambda ref: ref.path)]


@dataclass(frozen=True)
class _Group:
    """The pictures of one file; ``content`` is the hash of its bytes, empty where nothing is kept."""

    results: Sequence[_Decoded | Place | BadFile]
    content: bytes


def _decode_group(refs: Sequence[ImageRef], preprocessing: _Preprocessing, disk: DiskCache | None) -> _Group:
    """Pictures of one file, decoded, or their places where ``disk`` has the same content under another name."""
    content = read_content(refs[0].path)
    if isinstance(content, BadFile):
        return _Group([replace(content, frame=ref.frame) for ref in refs], b"")
    content_hash = hash_of(content) if disk is not None else b""
    if disk is not None:
        keys = [preprocessing.key(content_hash, ref.frame) for ref in refs]
        found = disk.places(set(keys))
        places = [next((p for p in found.get(key, ()) if disk.square(p) is not None), None) for key in keys]
        whole = [place for place in places if place is not None]
        if len(whole) == len(refs):
            return _Group(whole, content_hash)
    frames = [ref.frame for ref in refs]
    decoded = decode_frames(refs[0].path, content, frames, preprocessing.modality, preprocessing.ct_windows)
    return _Group([p if isinstance(p, BadFile) else preprocessing.finished(p) for p in decoded], content_hash)


@lru_cache(maxsize=1)
def _versions() -> str:
    return f"{_DECODING_VERSION} {' '.join(version(name) for name in _LIBRARIES)}"


def _allocate(shape: tuple[int, ...], cache: CacheConfig) -> NDArray[np.uint8]:
    global _memory_in_use
    num_bytes = int(np.prod(shape))
    with _memory_lock:
        in_memory = num_bytes == 0 or _memory_in_use + num_bytes <= cache.memory_mb * 2**20
        if in_memory:
            _memory_in_use += num_bytes
    if in_memory:
        array = np.empty(shape, np.uint8)
        weakref.finalize(array, _give_back, num_bytes).atexit = False
        return array
    folder = cache.folder or Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            # Space is reserved now: writing to a mapped file on a full disk would kill the process without a message.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, num_bytes)
            else:
                stream.truncate(num_bytes)
            return np.memmap(stream, np.uint8, mode="r+", shape=shape)
    except OSError as error:
        raise OSError(
            f"{folder}: no room for {num_bytes / 2**20:.0f} MiB of decoded images ({error.strerror}); raise "
            "data.cache.memory_mb or name another data.cache.folder"
        ) from error


def _give_back(num_bytes: int) -> None:
    global _memory_in_use
    with _memory_lock:
        _memory_in_use -= num_bytes
