"""One process at a time: POSIX's ``flock`` on a file, given back with the process at the latest."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedthorax.common.ground.atomic_write import PRIVATE


def take(path: Path, busy: str | None = None, mode: int = PRIVATE) -> int:
    """A descriptor that holds the lock of ``path`` until it is closed.

    While another process holds it: BlockingIOError with the words ``busy``; without words, wait.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise BlockingIOError(busy) from None
        raise
    return descriptor


@contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Within, the lock of ``path`` is held; see ``take``."""
    descriptor = take(path, busy)
    try:
        yield
    finally:
        os.close(descriptor)
