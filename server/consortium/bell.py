"""A bell between two processes of one machine: the time of an empty file, set by one and watched by the other.

There are two. The ServerApp rings one when it has handed messages to the SuperLink, and the gateway looks what there is
for the hospitals that wait. The gateway rings the other when something of a reply has come, and the ServerApp looks.
Both spare the SuperLink questions that it could only answer with nothing. A missed ring costs seconds and never a
message: who waits looks again by himself.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HEAR_SECONDS = 0.05  # between two looks at the file
_QUIET_SECONDS = 0.2  # a model comes in several pieces; Flower waits a second or more for one that is not there yet
_LONGEST_NOISE_SECONDS = 2.0
_WITHOUT_RING_SECONDS = 3.0


class Bell:
    def __init__(self, path: Path) -> None:
        self._path = path

    def ring(self) -> None:
        now = time.time_ns()  # what `touch` sets moves in steps of milliseconds: two rings could look like one
        with contextlib.suppress(OSError):  # on a full disk nobody is called, and nothing else is lost
            self._path.touch()
            os.utime(self._path, ns=(now, now))

    def last_ring(self) -> int:
        """A number that is another one after every ring; 0 before the first."""
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


class ReplyWatch:
    """How the ServerApp passes the time between two looks for replies."""

    def __init__(self, bell: Bell) -> None:
        self._bell, self._heard = bell, bell.last_ring()

    def wait(self, seconds: float) -> None:
        """Until something has come and no more follows; without a ring for three seconds, or for ``seconds`` where
        nobody has ever rung: another gateway may stand in this one's place."""
        until = time.monotonic() + (_WITHOUT_RING_SECONDS if self._bell.last_ring() else seconds)
        while (ring := self._bell.last_ring()) == self._heard and time.monotonic() < until:
            time.sleep(_HEAR_SECONDS)
        until = time.monotonic() + _LONGEST_NOISE_SECONDS
        while ring != self._heard and time.monotonic() < until:
            self._heard = ring
            time.sleep(_QUIET_SECONDS)
            ring = self._bell.last_ring()


class Listener:
    """Any number of coroutines that wait for a ring, and one task that watches the file for all of them."""

    def __init__(self, bell: Bell, closing: Callable[[], bool]) -> None:
        """Once ``closing()`` is true nobody waits any more."""
        self._bell, self._closing = bell, closing
        self._waiting = 0
        self._rung: asyncio.Future[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def wait(self, heard: int, seconds: float, gone: asyncio.Future[Any]) -> None:
        """Until the bell's last ring is not ``heard``, ``gone`` is done, or so many seconds have passed."""
        if self._closing() or self._bell.last_ring() != heard:
            return
        if self._rung is None or self._rung.done():
            self._rung = asyncio.get_running_loop().create_future()
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(heard))
        self._waiting += 1
        try:
            await asyncio.wait({self._rung, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting -= 1

    async def _watch(self, known: int) -> None:
        while self._waiting:
            last = self._bell.last_ring()
            if (last != known or self._closing()) and self._rung is not None and not self._rung.done():
                self._rung.set_result(None)
            known = last
            await asyncio.sleep(_HEAR_SECONDS)
