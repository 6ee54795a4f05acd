"""Run a command that ends when its parent does: ``python tied.py PARENT_PID COMMAND…``.

A supervisor that is killed without a chance to clean up (``kill -9``, out of memory) must not leave a server behind
that holds the port. Linux's ``PR_SET_PDEATHSIG`` sends SIGTERM then; it outlives ``exec``. Elsewhere the command just
runs. The file is run by its path, in a bare interpreter, so it imports nothing of the project.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
