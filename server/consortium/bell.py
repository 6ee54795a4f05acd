"""A bell between two processes of one machine: the time of an empty file, set by one and watched by the other.

The ServerApp rings it when it has handed messages to the SuperLink; the gateway hears it and looks what there is for the
hospitals that wait. A missed ring costs seconds and never a message: who waits looks again by himself.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HEAR_SECONDS = 0.05  # between two looks at the file


class Bell:
    def __init__(self, path: Path) -> None:
        self._path = path

    def ring(self) -> None:
        now = time.time_ns()  # what `touch` sets moves in steps of milliseconds: two rings could look like one
        self._path.touch()
        os.utime(self._path, ns=(now, now))

    def last_ring(self) -> int:
        """A number that is another one after every ring; 0 before the first."""
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


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
