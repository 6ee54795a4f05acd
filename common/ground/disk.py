"""Whether a disk takes another file."""

import os
from pathlib import Path

_LEAST_BYTES = 1 << 20


def full_disk(path: Path) -> str | None:
    """That the disk of ``path`` is full, how much is free, and what to do; None where it takes another file.

    ``path`` need not exist. A user's quota is not seen.
    """
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if free < _LEAST_BYTES:
        return f"the disk is full ({path}: {free >> 10} KiB free): make room"
    if disk.f_files and not disk.f_favail:  # some file systems count none
        return f"the disk is full ({path}: {free >> 20} MiB free, but no entry for another file): make room"
    return None
