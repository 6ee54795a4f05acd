"""The site worker as a real process: it is killed, comes back, and nothing is lost or done twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fedthorax.client.site.egress import verify_egress
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.worker_client import ask_worker
from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.ground.audit import read_lines
from fedthorax.common.ground.events import read_events
from fedthorax.common.messages.message import Asked, Reply, Task
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import DescribeTask, TrainTask
from fedthorax.common.model.segments import weights_digest

from ..waiting import wait_for

pytestmark = pytest.mark.slow

SITE = """\
name: north
consortium: net
server: localhost:1
xray: {data}/xray
ct: {data}/ct
participation: always
"""


class Hospital:
    """A worker that is started again whenever it ends, as the supervisor does it."""

    def __init__(self, folder: SiteFolder) -> None:
        self.folder = folder
        self.stopping = False
        self.process = self._start()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fedthorax.cli.main", "site", "worker", "--folder", str(self.folder.path)]
        with (self.folder.logs / "worker.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _keep(self) -> None:
        while not self.stopping:
            if self.process.poll() is not None:
                self.process = self._start()
            time.sleep(0.1)

    def stages(self, stage: str) -> int:
        events, _ = read_events(self.folder.events)
        return sum(event.get("stage") == stage for event in events)

    def close(self) -> None:
        self.stopping = True
        self._keeper.join()
        self.process.terminate()
        self.process.wait(60)
        assert not psutil.pid_exists(self.process.pid)


@pytest.fixture(scope="module")
def hospital(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = SiteFolder(tmp_path_factory.mktemp("h"))
    folder.make()
    folder.settings.write_text(SITE.format(data=workplace.folder / "data" / "north"))
    one = Hospital(folder)
    yield one
    one.close()


@pytest.fixture(scope="module")
def experiment(workplace: Any) -> Experiment:
    return travelling(load_experiment(workplace.folder / "tiny.yaml"))


@pytest.fixture(scope="module")
def training(experiment: Experiment) -> Task:
    """The first round's task, from the weights that the server would send."""
    from fedthorax.common.training.network import Network

    layout = Network(experiment).layout
    weights = layout.read()
    return TrainTask(
        site="north",
        round=1,
        experiment=experiment.model_dump_json(),
        weights=weights,
        layout=layout.digest,
        learning_rate=3e-3,
        run="r1",
        model_sha256=weights_digest(weights),
    )


def _ask(hospital: Hospital, task: Task) -> Reply:
    parcel = closed(task)
    asked = Asked.model_validate_json(parcel.text)
    return read_reply(ask_worker(parcel, asked, {"socket": str(hospital.folder.socket)}), task)


def test_a_worker_killed_in_the_middle_of_training_gives_the_same_bits_as_one_left_alone(
    hospital: Hospital, training: Task
) -> None:
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(_ask(hospital, training)))
    asking.start()
    wait_for(lambda: hospital.stages("train"))
    os.kill(hospital.process.pid, signal.SIGKILL)
    asking.join(300)
    assert not asking.is_alive()
    (killed,) = replies
    assert killed.error is None
    alone = _ask(hospital, training.model_copy(update={"run": "r2"}))
    assert alone.error is None
    assert weights_digest(killed.weights) == weights_digest(alone.weights)
    assert killed.task_id == training.id


def test_the_reply_outlives_the_process_and_is_not_worked_out_again(hospital: Hospital, training: Task) -> None:
    first = _ask(hospital, training)
    os.kill(hospital.process.pid, signal.SIGKILL)
    again = _ask(hospital, training)
    assert all(np.array_equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert hospital.stages("train") == 0  # the events are of the process that came after
    assert list(read_lines(hospital.folder.egress))[-1]["event"] == "sent again"


def test_the_log_of_what_left_is_whole_after_all_that(hospital: Hospital) -> None:
    lines = verify_egress(hospital.folder.egress)
    sizes = [json.loads(line)["facts"]["bytes"] for line in hospital.folder.egress.read_text().splitlines()]
    assert len(sizes) == lines >= 4
    assert max(sizes) > 1_000_000


def test_a_task_from_a_server_that_names_other_folders_trains_on_the_hospitals_own(
    hospital: Hospital, experiment: Experiment, tmp_path: Path
) -> None:
    elsewhere = {"folder": str(tmp_path)}
    raw = json.loads(experiment.model_dump_json())
    raw["data"]["hospitals"]["north"] = {"xray": elsewhere, "ct": elsewhere}
    task = DescribeTask(site="north", round=0, experiment=json.dumps(raw), run="r3", digest_key="00" * 32)
    reply = _ask(hospital, task)
    assert reply.error is None
    assert reply.told.data.splits["train"].xray > 0
