"""A tiny consortium in real processes: phantom hospitals, a small backbone, the command line as a person calls it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedthorax.simulations.phantom import phantom_arguments, write_phantom

from ..waiting import wait_for
from .consortium import Consortium, consortium, heed_ctrl_c

CONFIG = """\
name: tiny
seed: 5
labels:
  findings: [Cardiomegaly, Effusion, Pneumothorax, Nodule, Consolidation, Atelectasis]
  cancer_classes: [adenocarcinoma, large.cell.carcinoma, normal, squamous.cell.carcinoma]
data:
  hospitals:
    north: {xray: data/north/xray, ct: data/north/ct}
    south: {xray: data/south/xray, ct: data/south/ct}
  central: {xray: data/central/xray, ct: data/central/ct}
model: {backbone: MobileNetV3Small, image_size: 32, weights: none, batch_norm: train, encoder_units: 64,
        feature_units: 32, fusion_units: [64, 32]}
training:
  batch_size: 8
  threads: 2
  phases:
    - {rounds: 2, trainable: all, learning_rate: 3e-3, local_epochs: 2}
    - {rounds: 1, trainable: heads, learning_rate: 1e-3}
evaluation: {bootstrap_samples: 50, views: 2}
"""


HOSPITALS = ("north", "south")
_SHORT = "training.phases=[{rounds: 2, trainable: all, learning_rate: 3e-3}]"
_PERSONAL = "personalisation={fine_tune: [batch_norm, outputs, heads], epochs: 3, learning_rate: 3e-3}"
FEDBN, INT8 = "federation.strategy=fedbn", "federation.codec=int8"
OWN_RUNS = {
    "own": (_SHORT, FEDBN, _PERSONAL),
    "packed": (_SHORT, INT8),
    "packed-own": (_SHORT, FEDBN, INT8, _PERSONAL),
}


@dataclass(frozen=True)
class Workplace:
    """A folder with phantom data and an experiment file, in which commands are run."""

    folder: Path
    process_ids: list[int] = field(default_factory=list)  # of all commands, also those that have ended

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fedthorax.cli.main", *arguments],
            cwd=self.folder,
            env=os.environ | {"COLUMNS": "80"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.process_ids.append(process.pid)
        return process

    def run(self, *arguments: str, expect: int = 0, seconds: float = 600.0) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=seconds)
        assert process.returncode == expect, f"exit {process.returncode}\n{output}\n{errors}"
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def metrics(self, name: str) -> dict:
        return json.loads((self.folder / "runs" / name / "metrics.json").read_text())


@pytest.fixture(scope="session")
def workplace(tmp_path_factory) -> Workplace:
    heed_ctrl_c()
    folder = tmp_path_factory.mktemp("consortium")
    write_phantom(folder / "data", phantom_arguments(list(HOSPITALS), patients=16, image_size=48, seed=3))
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return Workplace(folder)


@pytest.fixture(scope="session")
def simulated(workplace) -> subprocess.CompletedProcess[str]:
    """The consortium's run, made once for all tests that look at it."""
    return workplace.run("simulate", "tiny.yaml")


def sets(settings: tuple[str, ...]) -> list[str]:
    return [part for one in settings for part in ("--set", one)]


@dataclass(frozen=True)
class Asked:
    """What was said while a command of the lead's waited for a person at a hospital, and in the end."""

    lead: str
    hospital: str
    status: str
    listed: str
    approved: str
    said: str


@dataclass(frozen=True)
class Ended:
    """A consortium after a run of the tiny experiment, and what was said. All its processes have ended by then."""

    place: Consortium
    check: str
    statistics: dict[str, Any]
    page: str
    asked: Asked
    follow: str
    flower: dict[str, str]  # by command of Flower's own, after the run


def agreed(place: Consortium, told: str, heard: Callable[[], bool], *arguments: str) -> Asked:
    """Give a command that asks north, where a person agrees once it is ``heard`` that it waits."""
    north = ("--folder", str(place.site("north")))
    process = place.start(*arguments, told=told)
    try:
        wait_for(lambda: process.poll() is not None or heard(), "word that north waits")
        assert process.poll() is None, place.told(told)
        lead, status = place.told(told), place.lead("server", "status")
        hospital, listed = place.told("north.txt"), place.command("site", "approve", *north)
        approved = place.command("site", "approve", "tiny", "--yes", *north)
        assert process.wait(600) == 0, place.told(told)
    finally:
        process.kill()
    return Asked(lead, hospital, status, listed, approved, place.told(told))


@pytest.fixture(scope="session")
def led(workplace, tmp_path_factory) -> Ended:
    data = workplace.folder / "data"
    with consortium(tmp_path_factory.mktemp("c"), data, HOSPITALS, asking=("north",)) as place:
        check = place.command("site", "check", "--folder", str(place.site("north")))
        page = place.place / "page.html"
        query = ("stats", "tiny.yaml", "--consortium", str(place.folder), "--html", str(page), "--json")
        waits = "waits for a person"
        numbers = agreed(place, "numbers.txt", lambda: place.told("north.txt").count(waits) == 1, *query)
        logged = ("--set", "output.tensorboard=true", "--set", f"output.mlflow={place.place / 'mlruns'}")
        run = ("run", "tiny.yaml", *logged, "--folder", str(place.folder))
        whole = agreed(place, "run.txt", lambda: "to agree" in place.told("run.txt"), *run)
        number = whole.said.split("submitted tiny as ")[1].split()[0]
        flower = {asked: place.flwr(*asked.split()) for asked in ("list", "supernode list", f"log {number}")}
    assert place.processes() == []
    statistics = numbers.said[numbers.said.index("{") : numbers.said.rindex("}") + 1]
    return Ended(place, check, json.loads(statistics), page.read_text(), whole, whole.said, flower)


@pytest.fixture(scope="session")
def led_own(workplace, tmp_path_factory) -> Consortium:
    """A consortium after the runs of OWN_RUNS; all its processes have ended by then."""
    with consortium(tmp_path_factory.mktemp("c"), workplace.folder / "data", HOSPITALS) as place:
        for name, settings in OWN_RUNS.items():
            place.lead("run", "tiny.yaml", "--name", name, *sets(settings), seconds=3600.0)
    return place


def pytest_collection_modifyitems(items):
    """`make test` is quick because nothing here is in it; who adds a test says where it runs."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and not any(map(item.get_closest_marker, ("ci", "slow", "real_data"))):
            raise pytest.UsageError(f"{item.nodeid} starts real processes: mark it ci (in .ci/run too) or slow")
