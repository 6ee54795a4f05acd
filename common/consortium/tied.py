"""Run a command that ends when its parent does: ``python tied.py PARENT_PID USER GROUP COMMAND…``.

A supervisor that is killed without a chance to clean up (``kill -9``, out of memory) must not leave a server behind
that holds the port. Linux's ``PR_SET_PDEATHSIG`` sends SIGTERM then; it outlives ``exec``, but no change of the user.
Elsewhere the command just runs.

With a USER (else empty), and started as root, the command gets that user's own groups and GROUP (may be empty), and of
the environment what it needs. The file is run by its path, in a bare interpreter, so it imports nothing of the project.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1
_KEPT = (
    *("PATH", "LANG", "LC_", "TZ", "HOME", "FLWR_", "GRPC_", "TF_", "KERAS_", "OMP_", "OPENBLAS_", "CUDA_", "PYTHON"),
    *("HTTPS_PROXY", "NO_PROXY", "MALLOC_", "FEDTHORAX_TASK_BELL"),
)


def main() -> None:
    parent, user, group, *command = sys.argv[1:]
    environment = become(user, group) if user else dict(os.environ)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it died before the line above
            sys.exit(1)
    os.execvpe(command[0], command, environment)


def become(user: str, group: str) -> dict[str, str]:
    """The environment that ``user`` may have, whom this process is from now on."""
    import grp
    import pwd

    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    if group:
        os.setgroups([*os.getgroups(), grp.getgrnam(group).gr_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.umask(0o077)
    return kept(os.environ) | {"USER": user, "LOGNAME": user}


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_KEPT)}


if __name__ == "__main__":
    main()
