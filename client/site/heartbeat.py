"""Noticing a site worker that is there and does not answer: stopped, stuck, or out of memory to breathe in.

A supervisor sees a process that ends. One that only stands still is ended here, so that the supervisor starts it again
and the task is tried again: the ClientApp waits for a worker that is away for longer than this takes.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

LOOK_EVERY_S = 10.0
ANSWER_S = 10.0
SILENCE_S = 120.0  # a machine that swaps may take a minute; the ClientApp's patience is worker_client.WORKER_WAIT_S


def watch_heartbeat(
    answers: Callable[[float], bool], pid: Callable[[], int | None], tell: Callable[[str], None], stop: threading.Event
) -> None:
    """Until ``stop`` is set: kill -9 the worker once it has been silent for SILENCE_S, and say so.

    ``answers`` asks it and waits for so many seconds; ``pid`` is its process, None while there is none.
    """
    known: int | None = None
    heard = time.monotonic()
    while not stop.wait(LOOK_EVERY_S):
        present = pid()
        if present is None or present != known or answers(ANSWER_S):
            known, heard = present, time.monotonic()
        elif time.monotonic() - heard >= SILENCE_S and present == pid() and not stop.is_set():
            tell(f"the worker has not answered for {SILENCE_S:g} s and is ended")
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(present, signal.SIGKILL)
            known = None
