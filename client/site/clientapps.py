"""Flower's SuperExec, with ClientApps that need import nothing more: ``python -m … ARGUMENTS of flower-superexec``.

Flower starts the program ``flwr-clientapp`` for every task, and its imports cost 1.5 s of CPU. This process has them
behind it and starts the SuperExec, first on whose PATH stands a program of that name, ``clientapp_request.py``: it
hands its arguments over through a FIFO in FLWR_HOME and ends. Each task has a process of its own as before, forked from
here, under the same user. No thread is ever started in this one, so a fork copies no lock that is held.
"""

import ctypes
import gc
import json
import os
import select
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fedthorax.client.site.run_and_exit import run_and_exit

FIFO = "clientapps.fifo"
LOOK_S = 0.5  # how soon the end of the SuperExec or of a ClientApp is seen
_PR_SET_NAME = 15
_NAME = "flwr-clientapp"


def main() -> int:
    folder, arguments = Path(os.environ["FLWR_HOME"]), sys.argv[1:]
    fifo = folder / FIFO
    program = make_program(folder, fifo)
    fifo.unlink(missing_ok=True)  # whoever still waits there waits for a process that is gone
    os.mkfifo(fifo, 0o600)
    requests = os.open(fifo, os.O_RDWR)  # for writing too: with nobody at the other end it would read as ended
    _import_what_tasks_need()
    superexec = _start_superexec(program.parent, arguments)
    rest = b""
    while True:
        if select.select([requests], [], [], LOOK_S)[0]:
            *lines, rest = (rest + os.read(requests, 1 << 16)).split(b"\n")
            for line in lines:
                if os.fork() == 0:
                    os.close(requests)
                    _run_task(json.loads(line))
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == superexec:
                print(f"flower-superexec ended with exit status {os.waitstatus_to_exitcode(ended[1])}", flush=True)
                return 1


def make_program(folder: Path, fifo: Path) -> Path:
    """``flwr-clientapp`` as the SuperExec finds it; returns its path."""
    request = Path(__file__).with_name("clientapp_request.py")
    instead = Path(sys.executable).with_name(_NAME)
    program = folder / "bin" / _NAME
    program.parent.mkdir(exist_ok=True)
    words = [sys.executable, "-I", "-S", str(request), str(fifo), str(instead)]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    return program


def _import_what_tasks_need() -> None:
    import flwr.supernode.cli  # noqa: F401  for those who come after

    import fedthorax.client.site.worker_client
    import fedthorax.client_app  # noqa: F401

    gc.freeze()  # a collection in a ClientApp does not look at, and so not copy, what was there before it


def _start_superexec(programs: Path, arguments: Sequence[str]) -> int:
    parent = os.getpid()
    superexec = str(Path(sys.executable).with_name("flower-superexec"))
    tied = str(Path(__file__).parents[2] / "common" / "consortium" / "tied.py")
    command = [sys.executable, "-I", "-S", tied, str(parent), superexec, *arguments]
    path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    return os.posix_spawn(sys.executable, command, os.environ | {"PATH": path})


def _run_task(arguments: list[str]) -> NoReturn:
    """What ``flwr-clientapp ARGUMENTS`` does, in a process that was just forked."""
    from flwr.supernode.cli import flwr_clientapp

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME.encode())
    sys.argv = [_NAME, *arguments]
    run_and_exit(flwr_clientapp)


if __name__ == "__main__":
    sys.exit(main())
