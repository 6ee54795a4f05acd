"""Processes that a simulation has started, however deep below, found by a mark in their environment.

Ray's helper processes can outlive Ray when a run is stopped half-way: they are nobody's children by then, so they are
found by what they inherited.
"""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

MARK = "FEDTHORAX_RUN_MARK"
_PATIENCE_S = 10.0  # Ray's helpers look after each other every second or two


@contextlib.contextmanager
def marked_processes() -> Iterator[None]:
    """Every process that is started inside the block is gone when it ends; stragglers are killed.

    Relies on /proc; elsewhere it does nothing and Ray's own clean-up has to do.
    """
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        deadline = time.monotonic() + _PATIENCE_S
        while (found := _with_mark(mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in found:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(process, signal.SIGKILL)


def _with_mark(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The environment with which it was started, so this process itself does not carry the mark.
            if wanted in (folder / "environ").read_bytes() and not _is_zombie(folder):
                found.append(int(folder.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def _is_zombie(folder: Path) -> bool:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
