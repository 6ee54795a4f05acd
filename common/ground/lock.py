"""One process at a time: POSIX's ``flock`` on a file, given back with the process at the latest."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedthorax.common.ground.atomic_write import PRIVATE


def take(path: Path, busy: str | None = None, mode: int = PRIVATE, flags: int = 0) -> int:
    """A descriptor that holds the lock of ``path`` until it is closed; ``flags`` are further ones of os.open.

    While another process holds it: BlockingIOError with the words ``busy``; without words, wait.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile: another is made
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise BlockingIOError(busy) from None
            raise
        os.close(descriptor)  # whoever had it has removed or renamed the file: the lock is that of another one now


@contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Within, the lock of ``path`` is held; see ``take``."""
    descriptor = take(path, busy)
    try:
        yield
    finally:
        os.close(descriptor)
