"""A worker that stands still is ended; one that answers, however seldom, is not."""

import signal
import subprocess
import threading

import pytest

from fedthorax.client.site import heartbeat
from fedthorax.client.site.heartbeat import LOOK_EVERY_S, SILENCE_S, watch_heartbeat


class Days:
    """A clock that each look moves on, and the end once there is no ``answers`` left."""

    def __init__(self, answers: list[bool], pids: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.told, self.killed = 0.0, list[str](), list[int]()
        self.answers, self.pids, self.stop = iter(answers), iter(pids), threading.Event()
        self.present: int | None = None
        monkeypatch.setattr(self.stop, "wait", self._wait)
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(heartbeat.os, "kill", lambda pid, number: self.killed.append(pid))

    def _wait(self, seconds: float) -> bool:
        self.now += seconds
        try:
            self.present = next(self.pids)
        except StopIteration:
            self.stop.set()
        return self.stop.is_set()

    def watch(self) -> None:
        watch_heartbeat(lambda seconds: next(self.answers), lambda: self.present, self.told.append, self.stop)


LOOKS = int(SILENCE_S / LOOK_EVERY_S)


def test_a_worker_that_is_silent_for_long_is_ended_once_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    days = Days([False] * 100, [7] * (LOOKS + 5), monkeypatch)
    days.watch()
    assert days.killed == [7]
    assert days.told == ["the worker has not answered for 120 s and is ended"]


@pytest.mark.parametrize(
    ("answers", "pids"),
    [
        ([True] * 50, [7] * 50),
        (([False] * (LOOKS - 1) + [True]) * 5, [7] * (5 * LOOKS)),
        ([False] * 50, [7, 8] * 25),  # started anew each time
        ([], [None] * 50),
    ],
)
def test_others_are_let_live(answers: list[bool], pids: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    days = Days(answers, pids, monkeypatch)
    days.watch()
    assert days.killed == []


def test_one_that_was_stopped_can_be_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(heartbeat, "SILENCE_S", 0.02)
    process, stop = subprocess.Popen(["sleep", "600"]), threading.Event()
    process.send_signal(signal.SIGSTOP)
    told: list[str] = []
    asked = (lambda seconds: False, lambda: process.pid, told.append, stop)
    watcher = threading.Thread(target=watch_heartbeat, args=asked)
    watcher.start()
    try:
        assert process.wait(60) == -signal.SIGKILL
    finally:
        stop.set()
        watcher.join()
        process.kill()
