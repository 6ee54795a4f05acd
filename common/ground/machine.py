"""What this machine gives a process: processors, memory, room on a disk; the collector and libraries kept quiet."""

import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def collector_off() -> Iterator[None]:
    """No collection in here, and none later of what is there at the end.

    TensorFlow makes millions of objects when it is imported, of which none is garbage, and the collector would go
    through them a dozen times (docs/performance.md). They live as long as the process, so later collections pass them
    by as well.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if on:
            gc.enable()


@contextmanager
def native_stderr_closed() -> Iterator[None]:
    """File descriptor 2 goes nowhere for a while; Python's own sys.stderr with it."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


FULL = "the disk is full"
_LEAST_BYTES = 8 << 20  # no model fits into less


def full_disk(path: Path) -> str | None:
    """That the disk of ``path`` is full, how much is free, and what to do; None where it takes another file.

    ``path`` need not exist. A user's quota is not seen.
    """
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if free < _LEAST_BYTES:
        return f"{FULL} ({path}: {free >> 10} KiB free): make room"
    if disk.f_files and not disk.f_favail:  # some file systems count none
        return f"{FULL} ({path}: {free >> 20} MiB free, but no entry for another file): make room"
    return None


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes on macOS, KiB elsewhere


def num_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
