"""Flower's SuperExec, with ClientApps that need import nothing more: ``python -m … ARGUMENTS of flower-superexec``.

Flower starts the program ``flwr-clientapp`` for every task, and its imports cost 1.5 s of CPU. This process has them
behind it, and each task has a process of its own as before, forked from here, under the same user. No thread is ever
started in this one, so a fork copies no lock that is held.

A SuperExec asks again and again whether there is a task. This one asks when the SuperNode (supernode_process.py) has
rung: it sets the time of the file that TASK_BELL names.
"""

import ctypes
import gc
import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

TASK_BELL = "FEDTHORAX_TASK_BELL"
LOOK_S = 0.05  # between two looks at the bell
_PR_SET_NAME = 15
_NAME = "flwr-clientapp"
FAILED = 1  # exit status


class Clock:
    """Of ``time`` what the SuperExec's loop uses: it sleeps between two questions."""

    def __init__(self) -> None:
        self._heard = last_ring()

    def sleep(self, seconds: float) -> None:
        """Until the bell has rung since the last time, or for so many seconds."""
        until = time.monotonic() + seconds
        while last_ring() == self._heard and time.monotonic() < until:
            time.sleep(LOOK_S)
            _bury()
        self._heard = last_ring()


class Forked:
    """Of ``subprocess`` what the SuperExec uses to start a task's process."""

    DEVNULL = subprocess.DEVNULL

    @staticmethod
    def Popen(arguments: Sequence[str], **_: object) -> None:  # noqa: N802  its name there
        if os.fork() == 0:
            from flwr.supernode.cli import flwr_clientapp

            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME.encode())
            sys.argv = [_NAME, *arguments[1:]]
            run_and_exit(flwr_clientapp)


def run_and_exit(program: Callable[[], object]) -> NoReturn:
    """Call ``program`` and end the process with the exit status that it asks for, at once: no other thread is waited
    for, and nothing that was to happen at exit does."""
    code: object = FAILED
    try:
        program()
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:  # nothing may keep the process from ending
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else FAILED)


def last_ring() -> int:
    try:
        return Path(os.environ[TASK_BELL]).stat().st_mtime_ns
    except (KeyError, OSError):  # no SuperNode of ours: it is asked as often as Flower asks
        return 0


def main() -> None:
    import flwr.supernode.cli  # noqa: F401  for those who come after
    from flwr.supercore.cli.flower_superexec import flower_superexec
    from flwr.supercore.superexec.executor import subprocess_executor

    import fedthorax.client.site.worker_client
    import fedthorax.client_app  # noqa: F401

    # A package's function has the module's name.
    setattr(importlib.import_module("flwr.supercore.superexec.run_superexec"), "time", Clock())  # noqa: B010
    setattr(subprocess_executor, "subprocess", Forked)  # noqa: B010  a module is no variable to mypy
    gc.freeze()  # a collection in a ClientApp does not look at, and so not copy, what was there before it
    sys.argv[0] = "flower-superexec"
    run_and_exit(flower_superexec)


def _bury() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:  # none is left
        return


if __name__ == "__main__":
    main()
