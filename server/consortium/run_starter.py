"""Looks after the process by which the SuperLink starts runs (Flower's SuperExec).

That one ends at an error of the SuperLink's, as on a full disk, and nobody starts it again, so that each later run
would wait for ever. Once there is room again and no run has a process, the SuperLink is ended, to come back whole.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from fedthorax.common.ground.machine import full_disk

_LOOK_SECONDS = 2.0  # between two looks whether it is there


class RunStarter:
    def __init__(self, folder: Path, address: str, tell: Callable[[str], None]) -> None:
        self._folder, self._address, self._tell = folder, address, tell
        self._superlink: int | None = None
        self._seen, self._next = False, 0.0

    def watch(self, superlink: int | None) -> None:
        if superlink != self._superlink:
            self._superlink, self._seen = superlink, False

    def tick(self) -> None:
        if self._superlink is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_SECONDS
        with contextlib.suppress(psutil.Error):  # it has ended, which its supervisor sees to
            superlink = psutil.Process(self._superlink)
            if any(_is_program(child, "flower-superexec") for child in superlink.children()):
                self._seen = True
            elif self._seen and full_disk(self._folder) is None:
                if any(_is_program(each, "flwr-serverapp", self._address) for each in psutil.process_iter()):
                    return
                self._seen = False
                self._tell("the SuperLink can start no run any more, perhaps since its disk was full: it is ended")
                superlink.terminate()


def _is_program(process: psutil.Process, name: str, *arguments: str) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:  # it has ended, or is another user's
        return False
    return any(Path(word).name == name for word in words[:2]) and {*arguments} <= {*words}
