"""What a hospital or a lead keeps is its owner's alone: folders 0700, files 0600.

Images' names, models, passwords of proxies and Flower's database lie there, written by a dozen modules and by Flower.
So it is not left to each of them: the process's own mask says it, for itself and for all that it starts.
"""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_OTHERS = 0o077
_OWNER, _ANYBODY_READS = 0o700, 0o744


def only_for_owner() -> None:
    """From now on nothing that this process makes, or one that it starts, can be read by another user."""
    os.umask(_OTHERS)


def hand_to_owner(path: Path) -> None:
    """Where root has written ``path``, give it to the owner of its folder, who else could not read it. A link that this
    owner has put in its place is not followed."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def tighten(folder: Path, public: Iterable[Path] = ()) -> None:
    """Take from everybody but the owner what is below ``folder`` already, such as from an earlier version, and
    ``folder`` itself. ``public`` stays readable by others who come that far. Nothing becomes more open, and no link is
    followed, whoever could put one here."""
    kept = set(public)
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):  # a link, a socket, removed meanwhile, or another user's
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
                wanted = mode & (_ANYBODY_READS if path in kept else _OWNER)
                if mode != wanted:
                    os.fchmod(descriptor, wanted)
            finally:
                os.close(descriptor)
