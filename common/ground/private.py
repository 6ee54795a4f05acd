"""What a hospital or a lead keeps is its owner's alone: folders 0700, files 0600.

Images' names, models, passwords of proxies and Flower's database lie there, written by a dozen modules and by Flower.
So it is not left to each of them: the process's own mask says it, for itself and for all that it starts.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_OTHERS = 0o077


def only_for_owner() -> None:
    """From now on nothing that this process makes, or one that it starts, can be read by another user."""
    os.umask(_OTHERS)


def tighten(folder: Path, public: Iterable[Path] = ()) -> None:
    """Take from everybody but the owner what is below ``folder`` already, such as from an earlier version, and
    ``folder`` itself. ``public`` may be read by others who come that far."""
    kept = set(public)
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):  # removed meanwhile, or another user's
            if not path.is_symlink() and not path.is_socket():
                mode = path.stat().st_mode & 0o777
                wanted = 0o644 if path in kept else mode & ~_OTHERS
                if mode != wanted:
                    path.chmod(wanted)
