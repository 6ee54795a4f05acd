"""Flower's SuperNode, made to end when it can no longer do its work: ``python -m … ARGUMENTS of flower-supernode``.

In Flower 1.42 an error in its main loop, such as a TLS handshake that times out on a dead line, ends the main thread
and leaves the process: the thread of its local API keeps it up, so that no supervisor sees that the hospital is gone.
The same holds for the thread that sends its heartbeats.

It looks twice a second whether the ClientApp has answered, and so a reply would lie for a quarter of a second; here it
looks more often. When a task has come it rings for what starts the ClientApp (clientapps.py).

A message that has been sent hangs in a cycle of references, and Python looks for those so seldom in a process of this
kind that tens of models pile up: they are collected here.

The main loop receives one message and sends what lies ready, be it the answer to that message or not. The late answer
to a run that has ended in between would take that place, and from then on every answer would lie there until the next
message comes: here it goes on sending until the message that was received is answered.

Its calls are signed as a whole (call_signing.py).
"""

import contextlib
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from fedthorax.client.site.clientapps import FAILED, TASK_BELL, run_and_exit

COLLECT_EVERY_S = 30.0
LOOK_S = 0.05  # between two looks at its own memory for a reply


def main() -> None:
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli import flower_supernode

    from fedthorax.client.site.call_signing import install

    install()
    setattr(start_client_internal, "time", _Clock)  # noqa: B010  a module is no variable to mypy
    answer_what_was_received(start_client_internal)
    sys.argv[0] = "flower-supernode"
    threading.excepthook = _end
    threading.Thread(target=_collect, name="collect", daemon=True).start()
    run_and_exit(flower_supernode)


class _Clock:
    """Of ``time`` what the SuperNode's main loop uses."""

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(LOOK_S if seconds < 1 else seconds)  # the longer one is before it asks the server again


def answer_what_was_received(loop: Any) -> None:
    """``loop`` is Flower's module of the main loop, which calls its two halves by name and with keywords."""
    pull, push = loop._pull_and_store_message, loop._push_messages
    received = ""

    def pull_one(*, receive: Callable[[], Any], **others: Any) -> Any:
        def noted() -> Any:
            nonlocal received
            if (found := receive()) is not None:
                received = found[0].metadata.message_id
            return found

        return pull(receive=noted, **others)

    def push_all(*, send: Callable[..., Any], **others: Any) -> None:
        ring()  # a task has come
        answered = set()

        def noted(message: Any, *how: Any) -> Any:
            answered.add(message.metadata.reply_to_message_id)
            return send(message, *how)

        while received not in answered:
            push(send=noted, **others)

    loop._pull_and_store_message, loop._push_messages = pull_one, push_all


def ring() -> None:
    now = time.time_ns()
    with contextlib.suppress(KeyError, OSError):  # nobody listens; whoever starts the ClientApp asks by himself
        os.utime(os.environ[TASK_BELL], ns=(now, now), follow_symlinks=False)


def _collect() -> None:
    while True:
        time.sleep(COLLECT_EVERY_S)
        gc.collect()


def _end(failure: threading.ExceptHookArgs) -> None:
    traceback.print_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
    sys.stderr.flush()
    os._exit(FAILED)


if __name__ == "__main__":
    main()
