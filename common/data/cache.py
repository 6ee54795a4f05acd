"""Decoded images, once: in memory, in a file beyond that, and on disk for the next run."""

import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import CacheConfig
from fedthorax.common.data.decode import fit_square, pixel_digest, try_decode
from fedthorax.common.data.records import BadFile

# Part of every key: to be raised when decoding or resizing changes, so that no run mixes old pictures with new ones.
_DECODING_VERSION = 1

_DIGEST_BYTES = 16

_memory_lock = threading.Lock()
_memory_in_use = 0


@dataclass(frozen=True)
class DecodedImages:
    """``images`` is uint8 (N, S, S, 3), read-only; row i is the file ``paths[kept[i]]`` of the call."""

    images: NDArray[np.uint8]
    kept: tuple[int, ...]
    digests: tuple[str, ...]
    bad: tuple[BadFile, ...]


def decode_all(
    paths: Sequence[Path],
    image_size: int,
    aspect: Literal["pad", "squash"],
    cache: CacheConfig,
    progress: Callable[[int], None] | None = None,
) -> DecodedImages:
    """All readable images of ``paths`` in this order, decoded on all cores of the process.

    They are held in memory while the process stays within ``cache.memory_mb``, else in a file without a name in
    ``cache.folder`` or the system's temporary folder, which the system removes with the process. With a folder, squares
    and digests are also kept there for the next run: one file an image, readable by its owner only, found again by
    path, time of change, length, image size and aspect. ``progress`` is called with the number of files done.

    Raises OSError if the folder cannot be written.
    """
    if cache.folder is not None:
        _make_folder(cache.folder)
    images = _allocate((len(paths), image_size, image_size, 3), cache)
    kept: list[int] = []
    digests: list[str] = []
    bad: list[BadFile] = []
    pool = ThreadPoolExecutor(max_workers=_num_cores(), thread_name_prefix="decode")
    try:
        results = pool.map(lambda path: _square_and_digest(path, image_size, aspect, cache.folder), paths)
        for index, result in enumerate(results):
            if isinstance(result, BadFile):
                bad.append(result)
            else:
                images[len(kept)], digest = result
                kept.append(index)
                digests.append(digest)
            if progress is not None:
                progress(index + 1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    images = images[: len(kept)]
    images.flags.writeable = False
    return DecodedImages(images, tuple(kept), tuple(digests), tuple(bad))


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: the cache folder cannot be made ({error.strerror}); see data.cache.folder") from error


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


def _square_and_digest(
    path: Path, image_size: int, aspect: Literal["pad", "squash"], folder: Path | None
) -> tuple[NDArray[np.uint8], str] | BadFile:
    entry = _entry(path, image_size, aspect, folder) if folder is not None else None
    if entry is not None and (stored := _read(entry, image_size)) is not None:
        return stored
    image = try_decode(path)
    if isinstance(image, BadFile):
        return image
    square, digest = fit_square(image, image_size, aspect), pixel_digest(image)
    if entry is not None:
        _write(entry, square, digest)
    return square, digest


def _entry(path: Path, image_size: int, aspect: str, folder: Path) -> Path | None:
    """Where the decoded image would lie; None if the file itself cannot be looked at."""
    try:
        state = path.stat()
    except OSError:
        return None
    key = (_DECODING_VERSION, str(path.absolute()), state.st_mtime_ns, state.st_size, image_size, aspect)
    name = hashlib.blake2b(repr(key).encode(), digest_size=20).hexdigest()
    return folder / "decoded" / name[:2] / name[2:]


def _read(entry: Path, image_size: int) -> tuple[NDArray[np.uint8], str] | None:
    """The entry: checksum, digest, pixels. None if there is none, or if it was damaged, say by a full disk."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    checksum, digest, pixels = content[:_DIGEST_BYTES], content[_DIGEST_BYTES : 2 * _DIGEST_BYTES], content[32:]
    if len(pixels) != image_size * image_size * 3 or _checksum(content[_DIGEST_BYTES:]) != checksum:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(image_size, image_size, 3), digest.hex()


def _write(entry: Path, square: NDArray[np.uint8], digest: str) -> None:
    content = bytes.fromhex(digest) + square.tobytes()
    temporary = None
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes files that only their owner can read.
        handle, temporary = tempfile.mkstemp(dir=entry.parent, prefix=".")
        with os.fdopen(handle, "wb") as stream:
            stream.write(_checksum(content) + content)
        Path(temporary).replace(entry)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OSError(
            f"{entry.parent.parent.parent}: the cache folder cannot be written ({error.strerror}); free some space or "
            "set data.cache.folder to null"
        ) from error


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
