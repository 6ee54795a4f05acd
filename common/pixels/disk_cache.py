"""Decoded squares on the disk: few big files that are mapped into memory, and an index that says what lies where.

The index is an SQLite database, the squares lie in *shards*: plain bytes, one square after the other, written by one
process in one go. A picture is known by the content of its file, so a file that is moved, copied or touched is not
decoded again; a second table remembers the content of files by path, length, times and inode, so that a known file is
not even read.

Killed at any time, the cache stays right: squares are on the disk before the index names them, and a shard whose
writer is gone (its lock is free) is cut to what the index names. Two processes may write at once: each has its own
shards. A shard that is thrown away stays readable for those who have it mapped.
"""

import hashlib
import os
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, so what a killed process leaves is not cleared away.
    fcntl = None  # type: ignore[assignment]

_HASH_BYTES = 16

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, state BLOB NOT NULL, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (
    name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, complete INTEGER NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS squares (
    shard TEXT NOT NULL, row INTEGER NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL, digest BLOB NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (shard, row)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS squares_by_key ON squares (key);
"""

# A file that changes twice within the clock of its disk may keep its times: its state proves nothing so early.
_SETTLED_SECONDS = 2.0

_CHUNK = 500  # values in one question to the index


@dataclass(frozen=True, slots=True)
class Place:
    """Where a square lies; ``digest`` is that of the whole picture."""

    shard: str
    row: int
    digest: str
    checksum: int


@dataclass(frozen=True, slots=True)
class FileState:
    """What is known of a file without reading it: hashes of its path, and of its length, times and inode."""

    path: bytes
    state: bytes
    settled: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One square as the index is to know it."""

    row: int
    key: bytes
    content: bytes
    digest: str
    checksum: int


def file_state(path: Path) -> FileState | None:
    """None if the file cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    facts = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    settled = time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED_SECONDS
    # Paths may name patients: only their hash is kept.
    return FileState(
        hash_of(str(path.absolute()).encode(errors="surrogateescape")), hash_of(repr(facts).encode()), settled
    )


def hash_of(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


class DiskCache:
    """The cache in one folder, for squares of one size; close it after use. Its methods may be called by any thread.

    Raises OSError if the folder cannot be made or written.
    """

    def __init__(self, folder: Path, image_size: int, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._shape = (image_size, image_size, 3)
        self._row_bytes = int(np.prod(self._shape))
        self._lock = threading.Lock()
        self._maps: dict[str, NDArray[np.uint8]] = {}
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"{folder.parent}: the cache folder cannot be made ({error.strerror}); see data.cache.folder"
            ) from error
        with self._named_errors():
            self._index = self._open_index()
            self._clear_up()

    def close(self) -> None:
        self._index.close()

    def contents(self, states: Iterable[FileState]) -> dict[bytes, bytes]:
        """Hash of the content by hash of the path, of the files that are as they were when they were read."""
        wanted = {state.path: state.state for state in states}
        question = "SELECT path, state, content FROM files WHERE path IN ({})"
        return {path: content for path, state, content in self._ask(question, wanted) if wanted[path] == state}

    def places(self, keys: Collection[bytes]) -> dict[bytes, list[Place]]:
        """Where the squares with ``keys`` lie; one may lie in several shards."""
        found: dict[bytes, list[Place]] = {}
        question = "SELECT key, shard, row, digest, checksum FROM squares WHERE key IN ({}) ORDER BY shard, row"
        for key, shard, row, digest, checksum in self._ask(question, dict.fromkeys(keys)):
            found.setdefault(key, []).append(Place(shard, row, digest.hex(), checksum))
        return found

    def new_shard(self, num_rows: int, in_use: Collection[str]) -> "Shard | None":
        """Room for ``num_rows`` squares; the shards used longest ago make way, but none of ``in_use``. None if there is
        less room than that.
        """
        size = num_rows * self._row_bytes
        name = f"{secrets.token_hex(8)}.rgb"
        gone: list[str] = []
        with self._named_errors(), self._lock, self._writing():
            total = self._index.execute("SELECT COALESCE(SUM(bytes), 0) FROM shards").fetchone()[0]
            old = self._index.execute("SELECT name, bytes FROM shards WHERE complete ORDER BY used").fetchall()
            for other, other_bytes in old:
                if total + size > self._limit and other not in in_use:
                    gone.append(other)
                    total -= other_bytes
            if total + size > self._limit:
                return None
            self._forget(gone)
            handle = self._create(name, size)
            self._index.execute("INSERT INTO shards VALUES (?, ?, 0, ?)", (name, size, time.time()))
        self._unlink(gone)
        return Shard(name, handle, np.memmap(self._folder / name, np.uint8, "r+", shape=(num_rows, *self._shape)))

    def add(self, shard: "Shard", entries: Sequence[Entry], files: Mapping[FileState, bytes]) -> None:
        """Name the squares that were written into ``shard``, and the content of ``files``, which then need not be read
        again. The squares reach the disk first.
        """
        with self._named_errors():
            if entries:
                shard.squares.flush()
            with self._lock, self._writing():
                self._index.executemany(
                    "INSERT INTO squares VALUES (?, ?, ?, ?, ?, ?)",
                    [(shard.name, e.row, e.key, e.content, bytes.fromhex(e.digest), e.checksum) for e in entries],
                )
                self._index.executemany(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
                    [(file.path, file.state, content) for file, content in files.items() if file.settled],
                )

    def finish(self, shard: "Shard", num_rows: int) -> None:
        """Nothing more comes into ``shard``: what lies behind the first ``num_rows`` squares is given back."""
        try:
            with self._named_errors(), self._lock, self._writing():
                self._cut(shard.name, num_rows)
        finally:
            shard.release()

    def used(self, shards: Collection[str]) -> None:
        """Remember that these were of use just now."""
        with self._named_errors(), self._lock, self._writing():
            now = time.time()
            self._index.executemany("UPDATE shards SET used = ? WHERE name = ?", [(now, name) for name in shards])

    def forget(self, places: Iterable[Place]) -> None:
        """Damaged squares."""
        with self._named_errors(), self._lock, self._writing():
            rows = [(place.shard, place.row) for place in places]
            self._index.executemany("DELETE FROM squares WHERE shard = ? AND row = ?", rows)

    def squares(self, shard: str) -> NDArray[np.uint8] | None:
        """All squares of a shard, mapped, read-only (N, S, S, 3); None if it is gone."""
        with self._lock:
            if shard not in self._maps:
                try:
                    num_rows = (self._folder / shard).stat().st_size // self._row_bytes
                    self._maps[shard] = np.memmap(self._folder / shard, np.uint8, "r", shape=(num_rows, *self._shape))
                except (OSError, ValueError):
                    return None
            return self._maps[shard]

    def square(self, place: Place) -> NDArray[np.uint8] | None:
        """The square at ``place``, mapped, read-only; None if it is gone or damaged."""
        squares = self.squares(place.shard)
        if squares is None or place.row >= len(squares):
            return None
        square: NDArray[np.uint8] = squares[place.row]
        return square if checksum(square) == place.checksum else None

    def _open_index(self) -> sqlite3.Connection:
        path = self._folder / "index.sqlite"
        for attempt in (1, 2):
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            index = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            try:
                index.executescript(_SCHEMA)
                index.execute("SELECT COUNT(*) FROM shards").fetchone()
                return index
            except sqlite3.OperationalError:
                index.close()
                raise
            except sqlite3.DatabaseError:  # Not a database, or a damaged one: nothing in it can be believed.
                index.close()
                if attempt == 2:
                    raise
                path.unlink()
        raise AssertionError

    def _clear_up(self) -> None:
        """Cut the shards of killed processes, and remove files that no index names."""
        if fcntl is None:
            return
        with self._lock, self._writing():
            rows = self._index.execute("SELECT name FROM shards WHERE NOT complete").fetchall()
            known = {name for (name,) in self._index.execute("SELECT name FROM shards")}
            for (name,) in rows:
                if self._abandoned(name):
                    count = self._index.execute("SELECT COUNT(*) FROM squares WHERE shard = ?", (name,)).fetchone()[0]
                    self._cut(name, count)
            for path in self._folder.glob("*.rgb"):
                if path.name not in known and self._abandoned(path.name):
                    path.unlink(missing_ok=True)
            missing = [name for name in known if not (self._folder / name).exists()]
            self._forget(missing)

    def _abandoned(self, name: str) -> bool:
        try:
            handle = os.open(self._folder / name, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(handle)

    def _create(self, name: str, size: int) -> int:
        handle = os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Space is reserved now: writing to a mapped file on a full disk would kill the process without a message.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
            else:
                os.ftruncate(handle, size)
        except BaseException:
            os.close(handle)
            (self._folder / name).unlink(missing_ok=True)
            raise
        return handle

    def _cut(self, name: str, num_rows: int) -> None:
        if num_rows == 0:
            self._forget([name])
            self._unlink([name])
            return
        size = num_rows * self._row_bytes
        os.truncate(self._folder / name, size)
        self._index.execute(
            "UPDATE shards SET bytes = ?, complete = 1, used = ? WHERE name = ?", (size, time.time(), name)
        )

    def _forget(self, shards: Sequence[str]) -> None:
        for table, column in (("squares", "shard"), ("shards", "name")):
            self._index.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(name,) for name in shards])
        if shards:
            self._index.execute("DELETE FROM files WHERE content NOT IN (SELECT content FROM squares)")

    def _unlink(self, shards: Iterable[str]) -> None:
        for name in shards:
            (self._folder / name).unlink(missing_ok=True)

    def _ask(self, question: str, values: Mapping[bytes, object]) -> Iterator[tuple[Any, ...]]:
        names = list(values)
        with self._named_errors():
            for start in range(0, len(names), _CHUNK):
                part = names[start : start + _CHUNK]
                with self._lock:
                    rows = self._index.execute(question.format(",".join("?" * len(part))), part).fetchall()
                yield from rows

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._index.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._index.execute("ROLLBACK")
            raise
        self._index.execute("COMMIT")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise OSError(
                f"{self._folder.parent}: the cache folder cannot be written ({reason}); free some space, or name "
                "another data.cache.folder, or set it to null"
            ) from error


@dataclass(frozen=True)
class Shard:
    """A shard that this process writes: ``squares`` is (N, S, S, 3), mapped."""

    name: str
    handle: int
    squares: np.memmap

    def release(self) -> None:
        """Others may clear up what is left of it."""
        if fcntl is not None:
            fcntl.flock(self.handle, fcntl.LOCK_UN)
        os.close(self.handle)


def checksum(square: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(square).data)
