"""Run a command as another user: ``python as_user.py PARENT_PID USER GROUP COMMAND…`` (GROUP may be empty).

Started as root by the supervisor. The command gets the user's own groups and GROUP, a bare environment, and ends when
the parent does (see common/consortium/tied.py: changing the user takes that tie away, so it is made again here). The
file is run by its path, in a bare interpreter, so it imports nothing of the project.
"""

import ctypes
import grp
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1
_KEPT = ("PATH", "LANG", "LC_", "TZ", "HOME", "FLWR_", "GRPC_", "TF_", "KERAS_", "OMP_", "OPENBLAS_", "CUDA_", "PYTHON")
_PROXIES = ("HTTPS_PROXY", "NO_PROXY")


def main() -> None:
    parent, user, group, command = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    if group:
        os.setgroups([*os.getgroups(), grp.getgrnam(group).gr_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)
    os.umask(0o077)
    environment = {name: value for name, value in os.environ.items() if name.startswith(_KEPT) or name in _PROXIES}
    os.execvpe(command[0], command, environment | {"USER": user, "LOGNAME": user})


if __name__ == "__main__":
    main()
