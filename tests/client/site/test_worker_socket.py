"""The worker's socket with a stand-in for the training: who may open it, what is carried, what a loss of it means."""

import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from fedthorax.client.site import protocol, task_desk, worker_client, worker_service
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.setup import make_worker_certificates
from fedthorax.client.site.task_desk import TaskDesk
from fedthorax.client.site.worker_client import ask_worker, mirror_events, open_channel, worker_answers
from fedthorax.client.site.worker_service import socket_path, start_server
from fedthorax.common.config import Experiment
from fedthorax.common.ground.audit import read_lines
from fedthorax.common.ground.events import read_events
from fedthorax.common.messages.message import Asked, Reply, Task
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.replies import DecisionReply, TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import DecisionTask

from ...told import trained
from .conftest import settings, task

WEIGHTS = {"disease": np.arange(3_000_000, dtype=np.float32)}  # 12 MB: more than gRPC carries in one message


def done(asked: Task) -> Reply:
    weights = {name: values + 1 for name, values in asked.weights.items()}
    return TrainReply(site=asked.site, round=asked.round, results=trained(3), weights=weights)


def ask(asked: Task, node: dict[str, str]) -> Reply:
    parcel = closed(asked)
    return read_reply(ask_worker(parcel, Asked.model_validate_json(parcel.text), node), asked)


class Worker:
    """A listening worker in this process; ``end`` ends it as a crash does, without a word to who waits."""

    def __init__(self, folder: SiteFolder, work: Callable[[Task], Reply], **changes: Any) -> None:
        self.desk = TaskDesk(folder, settings(**({"participation": "always"} | changes)))
        self.server = start_server(self.desk)
        self.thread = threading.Thread(target=self.desk.run, args=(work, lambda t, e: done(t)), daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.server.stop(grace=None).wait()
        self.desk.close()
        self.thread.join()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> SiteFolder:
    folder = SiteFolder(tmp_path_factory.mktemp("s"))
    folder.make()
    return folder


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    made: list[Worker] = []
    yield made
    for worker in made:
        worker.end()


def test_a_task_of_many_parts_comes_back_as_it_should(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment
) -> None:
    workers.append(Worker(folder, done))
    reply = ask(task(experiment, weights=WEIGHTS), {"socket": str(folder.socket)})
    assert reply.error is None
    assert np.array_equal(reply.weights["disease"], WEIGHTS["disease"] + 1)
    assert len(reply.egress_head) == 64


def decided(asked: Task, node: dict[str, str]) -> bool:
    question = DecisionTask(site=asked.site, round=asked.round, run=asked.run, about=asked.id)
    reply = ask(question, node)
    assert isinstance(reply, DecisionReply)
    return reply.told.decided


@pytest.mark.parametrize(
    ("decision", "error"), [("approved", None), ("refused", "the hospital takes no part in this run")]
)
def test_a_task_that_waits_for_a_person_says_so_and_the_decision_is_told_at_once(
    folder: SiteFolder,
    workers: list[Worker],
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
    decision: Any,
    error: str | None,
) -> None:
    monkeypatch.setattr(task_desk, "APPROVAL_POLL_S", 0.05)
    monkeypatch.setattr(worker_service, "PROGRESS_S", 0.1)
    calls: list[Task] = []
    workers.append(Worker(folder, lambda asked: calls.append(asked) or done(asked), participation="ask"))
    desk, asked, node = workers[0].desk, task(experiment, weights={}), {"socket": str(folder.socket)}
    first = ask(asked, node)
    assert (first.undecided, first.error, calls) == (True, None, [])
    assert desk.undecided(asked.id)
    threading.Timer(0.5, desk.participation.decide, ("r1", decision)).start()
    started = time.monotonic()
    assert decided(asked, node)
    assert time.monotonic() - started < 20  # it is held for a minute where nobody decides
    second = ask(asked, node)
    assert (second.undecided, second.error) == (False, error)
    assert len(calls) == (decision == "approved")
    lines = [line["facts"] for line in read_lines(folder.egress)]
    assert next(line["what"].get("undecided") for line in lines if line["task"] == "train") is True
    assert [line["what"]["results"] for line in lines if line["task"] == "decision"] == [["decided"]]


def test_a_wait_that_nobody_ends_is_told_as_soon_as_the_server_asks_again(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((worker_service, "HELD_S"), (worker_service, "PROGRESS_S"), (task_desk, "APPROVAL_POLL_S")):
        monkeypatch.setattr(module, name, 0.1)
    workers.append(Worker(folder, done, participation="ask", approval_wait_s=2))
    asked, node = task(experiment, weights={}), {"socket": str(folder.socket)}
    assert ask(asked, node).undecided
    assert not decided(asked, node)
    while workers[0].desk.undecided(asked.id):
        time.sleep(0.05)
    assert decided(asked, node)
    assert ask(asked, node).error == "the hospital has not approved the run within 2 s"


def test_only_owner_and_group_may_open_the_socket(folder: SiteFolder, workers: list[Worker]) -> None:
    workers.append(Worker(folder, done))
    mode = folder.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_a_task_larger_than_the_hospital_allows_is_refused(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment
) -> None:
    workers.append(Worker(folder, done, limits={"max_message_mb": 1}))
    reply = ask(task(experiment, weights=WEIGHTS), {"socket": str(folder.socket)})
    assert reply.error is not None
    assert "at most 1048576 are taken" in reply.error


def test_a_worker_that_is_lost_and_comes_back_is_asked_again(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment
) -> None:
    begun = threading.Event()

    def work(asked: Task) -> Reply:
        begun.set()
        while True:  # until the event of a worker that is being stopped ends it
            workers[0].desk.events.emit("site", site="north", round=1, stage="train", done=1, total=9)
            time.sleep(0.05)

    workers.append(Worker(folder, work))
    answers: list[Reply] = []
    asking = threading.Thread(
        target=lambda: answers.append(ask(task(experiment), {"socket": str(folder.socket)})), daemon=True
    )
    asking.start()
    assert begun.wait(20)
    workers[0].end()
    workers.append(Worker(folder, done))
    asking.join(60)
    assert not asking.is_alive()
    assert answers[0].error is None


def test_a_worker_that_never_comes_is_reported_in_time(
    folder: SiteFolder, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "WORKER_WAIT_S", 1.0)
    reply = ask(task(experiment), {"socket": str(folder.socket)})
    assert reply.error == "the site worker has not been there for 1 s; is `site start` running?"
    reply = ask(task(experiment, deadline=time.time() - 1), {"socket": str(folder.socket)})
    assert reply.error == "the site worker was not there by the deadline"


def test_a_socket_whose_path_the_system_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may have at most 100 bytes; set `socket` in site"):
        socket_path(SiteFolder(tmp_path / ("x" * 100)), settings())


@pytest.fixture
def remote(folder: SiteFolder) -> tuple[dict[str, Any], dict[str, str], Path]:
    """The worker's settings, the node configuration of the caller, and the caller's certificates."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    there, here = make_worker_certificates(folder.path / "tls", "localhost")
    files = {"ca": "ca.crt", "certificate": "tls.crt", "key": "tls.key"}
    worker = {"address": address, **{key: there / name for key, name in files.items()}}
    node = {"worker": address, **{f"worker-{key}": str(here / name) for key, name in files.items()}}
    return worker, node, here


def test_over_tcp_both_sides_show_a_certificate(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment, remote: Any
) -> None:
    worker, node, _ = remote
    workers.append(Worker(folder, done, worker=worker))
    assert ask(task(experiment), node).error is None


def test_what_a_worker_on_another_host_does_is_shown_here_too(
    folder: SiteFolder, workers: list[Worker], remote: Any, tmp_path: Path
) -> None:
    worker, node, _ = remote
    workers.append(Worker(folder, done, worker=worker))
    stop, copy = threading.Event(), tmp_path / "events.jsonl"
    mirror = threading.Thread(target=mirror_events, args=(node, copy, stop))
    mirror.start()
    until = time.monotonic() + 20
    while not read_events(copy)[0] and time.monotonic() < until:
        workers[0].desk.events.emit("site", site="north", round=1, stage="train", done=3, total=9)
        time.sleep(0.05)
    stop.set()
    workers[0].desk.events.emit("note", text="end")
    mirror.join(20)
    assert not mirror.is_alive()
    assert read_events(copy)[0][0]["done"] == 3


def test_over_tcp_a_stranger_gets_nowhere(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment, remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, node, here = remote
    workers.append(Worker(folder, done, worker=worker))
    monkeypatch.setattr(worker_client, "WORKER_WAIT_S", 1.0)
    _, stranger = make_worker_certificates(folder.path / "stranger", "localhost")
    foreign = {**node, "worker-certificate": str(stranger / "tls.crt"), "worker-key": str(stranger / "tls.key")}
    reply = ask(task(experiment), foreign)
    assert reply.error is not None
    assert workers[0].desk.folder.egress.exists() is False
    with (
        grpc.secure_channel(node["worker"], grpc.ssl_channel_credentials((here / "ca.crt").read_bytes())) as without,
        pytest.raises(grpc.RpcError),
    ):
        list(without.unary_stream("/fedthorax.site.SiteWorker/Watch")(b"", timeout=5))


def test_what_the_worker_does_can_be_watched(folder: SiteFolder, workers: list[Worker]) -> None:
    workers.append(Worker(folder, done))
    workers[0].desk.events.emit("site", site="north", round=1, stage="train", done=3, total=9)
    with open_channel({"socket": str(folder.socket)}) as channel:
        assert '"done": 3' in next(worker_client.watch_worker(channel))


def test_a_worker_answers_however_many_wait_for_it(folder: SiteFolder, workers: list[Worker]) -> None:
    workers.append(Worker(folder, done))
    workers[0].desk.events.emit("note", text="here")
    facts = {"socket": str(folder.socket)}
    with open_channel(facts) as channel:
        held = [channel.unary_stream(protocol.WATCH)(b"", timeout=60) for _ in range(100)]
        assert all(b"here" in next(one) for one in held)
        assert worker_answers(facts, 20.0)


def test_a_worker_answers_whatever_it_does_and_an_absent_one_does_not(
    folder: SiteFolder, workers: list[Worker], experiment: Experiment
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(asked: Task) -> Reply:
        begun.set()
        go_on.wait(60)
        return done(asked)

    facts = {"socket": str(socket_path(folder, settings()))}
    assert not worker_answers(facts, 0.1)
    workers.append(Worker(folder, work))
    job = workers[0].desk.submit(task(experiment))
    assert begun.wait(20)
    assert worker_answers(facts, 20.0)
    go_on.set()
    assert job.done.wait(20)
