"""The worker's desk with a stand-in for the training: order, store, refusal, stopping."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.task_desk import MOST_ATTEMPTS, RestartNeeded, TaskDesk
from fedthorax.common.config import Experiment
from fedthorax.common.ground.audit import read_lines
from fedthorax.common.messages.message import Reply, Task
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.replies import TrainReply

from ...told import changed, trained
from ...waiting import wait_for
from .conftest import settings, task

Work = Callable[[Task], Reply]
WEIGHTS = {"disease": np.array([1, 2, 3], np.float32)}


def done(asked: Task) -> Reply:
    return TrainReply(site=asked.site, round=asked.round, results=trained(3), weights=WEIGHTS)


class Desk:
    """A desk whose work is done in a thread, as in the real process."""

    def __init__(self, path: Path, work: Work, **changes: Any) -> None:
        folder = SiteFolder(path)
        folder.make()
        self.calls: list[Task] = []
        self.desk = TaskDesk(folder, settings(participation="always", **changes))
        self.thread = threading.Thread(target=self.desk.run, args=(self._counted(work), lambda t, e: done(t)))
        self.thread.start()

    def _counted(self, work: Work) -> Work:
        def counted(asked: Task) -> Reply:
            self.calls.append(asked)
            return work(asked)

        return counted

    def ask(self, asked: Task) -> Reply:
        job = self.desk.submit(asked)
        assert job.done.wait(20)
        assert job.reply is not None
        return read_reply(job.reply, asked)

    def close(self) -> None:
        self.desk.close()
        self.thread.join()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def desk(work: Work = done, **changes: Any) -> Desk:
        made.append(Desk(tmp_path / "site", work, **changes))
        return made[-1]

    yield desk
    for one in made:
        one.close()


def test_a_task_that_comes_twice_is_done_once_and_both_times_written_down(
    make: Callable[..., Desk], experiment: Experiment
) -> None:
    desk = make()
    first, second = (desk.ask(task(experiment)) for _ in range(2))
    assert len(desk.calls) == 1
    assert np.array_equal(first.weights["disease"], second.weights["disease"])
    lines = list(read_lines(desk.desk.folder.egress))
    assert [line["event"] for line in lines] == ["sent", "sent again"]
    assert [first.egress_head, second.egress_head] == [line["hash"] for line in lines]
    assert first.task_id == task(experiment).id


def test_a_kept_reply_survives_the_process_and_goes_once_it_is_acknowledged(
    make: Callable[..., Desk], experiment: Experiment
) -> None:
    before = make()
    before.ask(task(experiment))
    before.close()
    after = make()
    after.ask(task(experiment))
    assert after.calls == []
    after.ask(task(experiment, round=2, acknowledged=(task(experiment).id,)))
    after.ask(task(experiment))
    assert [call.round for call in after.calls] == [2, 1]


def test_a_task_beyond_the_limits_is_answered_with_the_reason_and_never_begun(
    make: Callable[..., Desk], experiment: Experiment
) -> None:
    desk = make(limits={"max_rounds": 1})
    reply = desk.ask(task(experiment))
    assert reply.error is not None
    assert "limits.max_rounds" in reply.error
    assert desk.calls == []


def test_a_task_that_ends_the_worker_each_time_is_given_up(make: Callable[..., Desk], experiment: Experiment) -> None:
    desk = make()
    for _ in range(MOST_ATTEMPTS):
        desk.desk.store.begin(task(experiment).id)  # what a process that is killed leaves behind
    reply = desk.ask(task(experiment))
    assert reply.error == "the task ended the site worker 3 times, so it is not tried again"


def test_pausing_stops_the_work_at_its_next_step(make: Callable[..., Desk], experiment: Experiment) -> None:
    begun, desk = threading.Event(), None

    def work(asked: Task) -> Reply:
        begun.set()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            desk.desk.events.emit("site", site="north", round=1, stage="train", done=1, total=9)  # type: ignore[union-attr]
            time.sleep(0.01)
        raise AssertionError("was not stopped")

    desk = make(work)
    job = desk.desk.submit(task(experiment))
    assert begun.wait(20)
    desk.desk.participation.stand("paused")
    assert job.done.wait(20)
    assert job.reply is not None
    assert read_reply(job.reply, job.task).error == "the hospital has paused while it worked"


def test_work_for_an_earlier_round_makes_way_and_the_deadline_ends_the_rest(
    make: Callable[..., Desk], experiment: Experiment
) -> None:
    desk = None

    def work(asked: Task) -> Reply:
        until = time.monotonic() + 20
        while asked.round < 3 and time.monotonic() < until:
            desk.desk.events.emit("site", site="north", round=1, stage="train", done=1, total=9)  # type: ignore[union-attr]
            time.sleep(0.01)
        return done(asked)

    desk = make(work)
    early = desk.desk.submit(task(experiment, round=1))
    late = desk.desk.submit(task(experiment, round=2, deadline=time.time() + 0.5))
    assert early.done.wait(20)
    assert early.reply is not None
    assert read_reply(early.reply, early.task).error == "stopped: the server has gone on to train of round 2"
    assert late.done.wait(20)
    assert late.reply is not None
    assert read_reply(late.reply, late.task).error == "stopped at the deadline that the server set"
    assert desk.ask(task(experiment, round=3)).error is None


def test_a_task_that_comes_again_while_it_is_done_joins_the_work_and_keeps_the_later_deadline(
    make: Callable[..., Desk], experiment: Experiment
) -> None:
    go_on = threading.Event()

    def work(asked: Task) -> Reply:
        assert go_on.wait(20)
        return done(asked)

    desk = make(work)
    first = desk.desk.submit(task(experiment, deadline=time.time() + 100))
    later = time.time() + 200
    assert desk.desk.submit(task(experiment, deadline=later)) is first
    assert first.deadline == later
    assert desk.desk.submit(task(experiment)).deadline == 0
    go_on.set()
    assert first.done.wait(20)
    assert len(desk.calls) == 1


def test_another_number_of_threads_needs_another_process(make: Callable[..., Desk], experiment: Experiment) -> None:
    desk = make(limits={"max_threads": 64})

    def with_threads(number: int) -> Task:
        training = experiment.training.model_copy(update={"threads": number})
        return task(experiment.model_copy(update={"training": training}))

    desk.ask(with_threads(2))
    job = desk.desk.submit(changed(with_threads(3), round=2))
    assert job.done.wait(20)
    assert job.reply is None
    assert desk.desk.restart_needed.is_set()
    assert issubclass(RestartNeeded, Exception)


def test_nothing_leaves_that_cannot_be_written_down(make: Callable[..., Desk], experiment: Experiment) -> None:
    desk = make()
    desk.desk.folder.egress.write_text("torn\n")
    reply = desk.ask(task(experiment))
    assert reply.error == "the hospital cannot write down what leaves, so nothing does"
    assert not reply.weights


def test_a_log_that_lacks_what_the_server_has_seen_stops_everything(
    make: Callable[..., Desk], experiment: Experiment
) -> None:
    desk = make()
    head = desk.ask(task(experiment)).egress_head
    assert desk.ask(task(experiment, round=2, egress_head=head)).error is None
    desk.desk.folder.egress.unlink()
    reply = desk.ask(task(experiment, round=3, egress_head=head))
    assert reply.error is not None
    assert "lacks a line that the server has seen" in reply.error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_file_is_said_without_a_path_and_nothing_leaves(
    make: Callable[..., Desk],
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/srv/St. Anna/state/x")

    desk = make()
    with monkeypatch.context() as patch:
        patch.setattr(desk.desk.store, "begin", refuse)
        assert desk.ask(task(experiment)).error == f"the hospital's own disk takes no file: {os.strerror(number)}"
        patch.setattr(desk.desk.egress, "record", refuse)
        nothing = "the hospital cannot write down what leaves, so nothing does"
        assert desk.ask(task(experiment)).error == f"{nothing}: {os.strerror(number)}"
    assert "what leaves cannot be written down, so nothing does:" in capsys.readouterr().out
    assert desk.ask(task(experiment)).error is None


def test_a_run_that_nobody_has_decided_on_keeps_no_other_run_from_being_done(
    tmp_path: Path, experiment: Experiment
) -> None:
    desk = Desk(tmp_path / "site", done)
    desk.desk.settings = settings(participation="ask")
    try:
        people, first, second = desk.desk.participation, task(experiment, run="r1"), task(experiment, run="r2")
        people.request(second, {"name": "tiny"})
        people.decide("r2", "approved")
        waiting = desk.desk.submit(first)
        wait_for(lambda: desk.desk.undecided(first.id))
        assert desk.ask(second).error is None
        assert desk.desk.undecided(first.id)
        assert not waiting.done.is_set()
        people.decide("r1", "approved")
        assert waiting.done.wait(20)
        assert [asked.run for asked in desk.calls] == ["r2", "r1"]
        assert [line["facts"]["what"].get("undecided") for line in read_lines(desk.desk.folder.egress)].count(True) == 1
    finally:
        desk.close()
