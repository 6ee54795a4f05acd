"""Objects at the gateway: a hospital fetches and delivers those of its own tasks, from where a broken line left off.

Sizes are bounded before a byte is taken, and what was sent up counts once its hash is the one that it was sent under.
Nothing is held in memory: files are read and written in pieces (objects.py tells where they lie).
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

from fedthorax.common.consortium.objects import (
    HELD_HEADER,
    NO_BODY,
    WAY_HEADER,
    Place,
    read_content_range,
    read_range,
    read_way,
)
from fedthorax.common.ground.atomic_write import PRIVATE
from fedthorax.common.wire.parcel import MOST_SEGMENTS
from fedthorax.server.consortium.objects import note_passing, task_folder

PIECE_BYTES = 1 << 18
_NOTE_SECONDS = 0.5  # between two notes of how far a hospital is
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Headers = dict[bytes, bytes]
Body = Callable[[int], AsyncIterator[bytes]]  # pieces of a body that has so many bytes; the last once it is as signed
Send = Callable[[dict[str, Any]], Awaitable[None]]


class RefusedError(Exception):
    """A request that goes no further: HTTP status and the words for the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ObjectDesk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[Path, object] = {}  # who may write to an upload: the newest call
        self._noted: dict[str, float] = {}  # by hospital when it was last noted how far it is

    async def answer(
        self, method: str, place: Place, hospital: str, headers: Headers, digest: str, body: Body, send: Send
    ) -> None:
        """One call of the hospital, whose key signed it and the SHA-256 of its body."""
        task = task_folder(self._folder, place.run, hospital, place.task)
        if not (task / "most").is_file():
            raise RefusedError(404, "no such task: it is not this hospital's, or its round is closed")
        if method == "PUT":
            await self._take(task, place.sha256, headers, digest, body, send)
            return
        if digest != NO_BODY:
            raise RefusedError(400, f"a {method} has no body")
        if method == "HEAD":
            await self._tell(task / "up", place.sha256, send)
        elif method == "GET":
            await self._give(task, place.sha256, headers, send)
        else:
            raise RefusedError(405, "expected GET, HEAD or PUT")

    async def _tell(self, folder: Path, name: str, send: Send) -> None:
        """200 where the object is here and whole, 202 while it comes."""
        for part in folder.glob(f"{name}-*.part"):
            self._writers.pop(part, None)  # who asks has lost the line on which it was sent
            if part.stat().st_size == _announced(part):
                await _finish(part, name)  # the gateway ended before it could
        whole, held = _held(folder, name)
        await _say(send, 200 if whole else 202, held)

    async def _take(self, task: Path, name: str, headers: Headers, digest: str, body: Body, send: Send) -> None:
        if b"content-length" not in headers:
            raise RefusedError(411, "expected the length of the body (Content-Length)")
        length = int(headers[b"content-length"])  # h11 has seen to it that it is a number
        found = (0, length)
        if b"content-range" in headers:
            told = read_content_range(headers[b"content-range"].decode("latin-1"))
            if told is None or told[1] - told[0] != length:
                raise RefusedError(400, "expected Content-Range to go to the object's end and Content-Length to fit it")
            found = told
        offset, total = found
        whole, held = _held(task / "up", name)
        if whole:
            await _say(send, 200, held, close=True)  # the body is not waited for
            return
        _require_room(task, name, total)
        if offset != held:
            raise RefusedError(409, f"{held} bytes are here: go on from there, not from {offset}")
        part = task / "up" / f"{name}-{total}.part"
        self._writers[part] = me = object()
        try:
            await self._write(part, offset, self._noting(task, "send", offset, headers, body(length)), me)
            if part.stat().st_size == total:
                await _finish(part, name, checked=offset == 0 and digest == name)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise RefusedError(404, "the round was closed") from None
            if error.errno in _FULL:
                raise RefusedError(507, f"the lead's disk takes no file: {error.strerror}") from None
            raise
        finally:
            if self._writers.get(part) is me:
                del self._writers[part]
        await _say(send, 201, total)

    async def _write(self, part: Path, offset: int, pieces: AsyncIterator[bytes], me: object) -> None:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
        try:
            async for piece in pieces:
                if self._writers.get(part) is not me:  # the hospital has come again: this is a dead line's rest
                    raise RefusedError(409, "another call goes on with this object")
                done = 0
                while done < len(piece):
                    done += os.pwrite(descriptor, piece[done:], offset + done)
                offset += len(piece)
        finally:
            os.close(descriptor)

    async def _give(self, task: Path, name: str, headers: Headers, send: Send) -> None:
        part = headers.get(b"range", b"")
        offset = read_range(part.decode("latin-1")) if part else 0
        if offset is None:
            raise RefusedError(400, "expected Range: bytes=FIRST-")
        try:
            file = (task / "down" / name).open("rb")
        except FileNotFoundError:
            raise RefusedError(404, "no such object of this task") from None
        with file:
            size = os.fstat(file.fileno()).st_size
            if offset > size or (part and offset == size):
                raise RefusedError(416, f"the object has {size} bytes; there is nothing from {offset} on")
            told = [(b"content-length", b"%d" % (size - offset)), (b"content-type", b"application/octet-stream")]
            if part:
                told.append((b"content-range", b"bytes %d-%d/%d" % (offset, size - 1, size)))
            await send({"type": "http.response.start", "status": 206 if part else 200, "headers": told})
            file.seek(offset)
            async for piece in self._noting(task, "fetch", offset, headers, _pieces(file)):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _noting(
        self, task: Path, stage: str, offset: int, headers: Headers, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """The pieces; now and then it is written down for the lead how far they are."""
        found = read_way(headers.get(WAY_HEADER.encode(), b"").decode("latin-1"))
        async for piece in pieces:
            yield piece
            offset += len(piece)
            if found is None:
                continue
            done, now = found[0] + offset, time.monotonic()
            if done == found[1] or now > self._noted.get(task.parent.name, 0.0) + _NOTE_SECONDS:
                self._noted[task.parent.name] = now
                with contextlib.suppress(OSError):  # a full disk, or a closed round; no more than a display is lost
                    note_passing(task, stage, done, found[1])


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _held(folder: Path, name: str) -> tuple[bool, int]:
    """Whether the object is there as a whole, and how many bytes of it."""
    with contextlib.suppress(FileNotFoundError):  # here and below: not there yet, or no more
        return True, (folder / name).stat().st_size
    for part in folder.glob(f"{name}-*.part"):
        with contextlib.suppress(FileNotFoundError):
            return False, part.stat().st_size
    return False, 0


def _require_room(task: Path, name: str, total: int) -> None:
    """RefusedError where the task's reply would have more than it may."""
    try:
        most = int((task / "most").read_text(encoding="ascii"))
        announced = {path.name.split("-")[0]: _announced(path) for path in (task / "up").iterdir()}
    except FileNotFoundError:
        raise RefusedError(404, "the round was closed") from None
    if announced.get(name, total) != total:
        raise RefusedError(400, f"the object was announced with {announced[name]} bytes before, now with {total}")
    others = [size for other, size in announced.items() if other != name]
    if sum(others) + total > most:
        raise RefusedError(413, f"the reply to this task may have {most} bytes, with this object {sum(others) + total}")
    if len(others) >= MOST_SEGMENTS:
        raise RefusedError(413, f"the reply to this task may have {MOST_SEGMENTS} objects")


def _announced(path: Path) -> int:
    return int(path.stem.split("-")[1]) if path.suffix == ".part" else path.stat().st_size


async def _finish(part: Path, name: str, checked: bool = False) -> None:
    """``checked``: it has come in one body, whose hash was looked at."""
    found = name if checked else await asyncio.to_thread(_sha256, part)
    if found != name:
        part.unlink(missing_ok=True)
        raise RefusedError(422, f"the object has the SHA-256 {found}, not that of its name; nothing of it is kept")
    with contextlib.suppress(FileNotFoundError):  # another call has done it
        part.rename(part.with_name(name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _say(send: Send, status: int, held: int, close: bool = False) -> None:
    headers = [(HELD_HEADER.encode(), b"%d" % held), (b"content-length", b"0")]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
