"""A SuperNode that is alive without working would never be started again, so it must not stay."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.supernode import start_client_internal

from fedthorax.client.site import supernode_process
from fedthorax.client.site.supernode_process import answer_what_was_received

PROGRAM = """
import sys, threading, time, types
def supernode():
    threading.Thread(target=time.sleep, args=(600,)).start()  # its local API, which would keep the process up
    {what}
fake = types.ModuleType("flwr.supernode.cli")
fake.flower_supernode = supernode
sys.modules["flwr.supernode.cli"] = fake
from fedthorax.client.site import supernode_process
supernode_process.main()
"""


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("raise OSError('The handshake operation timed out')", 1, "The handshake operation timed out"),
        ("threading.Thread(target=lambda: 1 / 0).start(); time.sleep(600)", 1, "ZeroDivisionError"),
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('words')", 1, "words"),
        ("return", 0, ""),
    ],
)
def test_the_process_ends_with_its_main_thread_and_with_its_heartbeat(what: str, code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what)],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code
    assert words in done.stderr


def test_it_looks_often_for_a_reply_and_asks_the_server_as_seldom_as_flower_does(monkeypatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(supernode_process.time, "sleep", slept.append)
    for seconds in (0.5, 3):
        supernode_process._Clock.sleep(seconds)
    assert slept == [supernode_process.LOOK_S, 3]
    source = Path(start_client_internal.__file__).read_text(encoding="utf-8")
    assert re.findall(r"\btime\.(\w+\(.*\))", source) == ["sleep(3)", "sleep(0.5)", "sleep(0.5)"]


def test_the_late_answer_to_an_ended_run_does_not_take_the_place_of_the_one_that_is_waited_for() -> None:
    """A loop as Flower's: what lies ready is sent, one at a time here, and then the next message is asked for."""
    ready = ["to an ended run", "first", "second"]

    def message(**metadata: str) -> SimpleNamespace:
        return SimpleNamespace(metadata=SimpleNamespace(**metadata))

    def pull(receive: Callable[[], Any], state: None) -> Any:
        return receive()

    def push(send: Callable[[Any, int], None], state: None) -> None:
        send(message(reply_to_message_id=ready.pop(0)), 0)

    loop = SimpleNamespace(_pull_and_store_message=pull, _push_messages=push)
    answer_what_was_received(loop)
    sent: list[list[str]] = []
    for name in ("first", "second"):
        loop._pull_and_store_message(receive=lambda name=name: (message(message_id=name), None), state=None)
        sent.append([])
        loop._push_messages(send=lambda one, _: sent[-1].append(one.metadata.reply_to_message_id), state=None)
    assert sent == [["to an ended run", "first"], ["second"]]
    assert loop._pull_and_store_message(receive=lambda: None, state=None) is None
