"""Masked runs in real processes: the same model, bit by bit, as without masks, and nothing of one hospital told."""

import json
from typing import Any

import numpy as np
import pytest

from fedthorax.common.ground.events import read_events
from fedthorax.simulations.phantom import phantom_arguments, write_phantom

from ..waiting import wait_for
from .conftest import CONFIG, Workplace
from .consortium import Consortium, consortium, models_in

pytestmark = pytest.mark.slow

THREE = CONFIG.replace("name: tiny", "name: three").replace(
    "  central:", "    west: {xray: data/west/xray, ct: data/west/ct}\n  central:"
)


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Workplace:
    folder = tmp_path_factory.mktemp("masked")
    write_phantom(folder / "data", phantom_arguments(["north", "south", "west"], patients=16, image_size=48, seed=3))
    (folder / "three.yaml").write_text(THREE, encoding="utf-8")
    return Workplace(folder)


def weights(place: Workplace, name: str, number: int) -> dict[str, bytes]:
    with np.load(place.folder / "runs" / name / "checkpoints" / f"round-{number:04d}.npz") as content:
        return {key: content[key].tobytes() for key in content.files if key != "state"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"federation.strategy": "fedprox"},
        {"federation.strategy": "fedbn"},
        {"federation.strategy": "fedadam"},
        {"model.absent": "token", "training.modality_dropout": "0.8"},
    ],
    ids=lambda changes: " ".join(changes.values()) or "fedavg",
)
def test_a_masked_run_has_the_bits_of_a_plain_one(three, changes):
    name = "-".join(["m", *changes.values()]).replace(".", "")
    more = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    three.run("simulate", "three.yaml", "--name", f"{name}-plain", *more)
    three.run(
        "simulate", "three.yaml", "--name", f"{name}-masked", *more, "--set", "federation.secure_aggregation=true"
    )
    for number in (2, 3):
        assert weights(three, f"{name}-plain", number) == weights(three, f"{name}-masked", number)
    for entry in three.metrics(f"{name}-masked")["rounds"][1:]:
        assert entry["failures"] == []
        for site in entry["sites"].values():
            assert (site["masked"], site["train"], site["update_norm"]) == (True, None, None)


MASKED = THREE.replace("name: three", "name: masked").replace(
    "evaluation:", "federation: {secure_aggregation: true, min_sites: 3, ask_after_s: 5}\nevaluation:"
)


ONLY_MASKED = {"require_masking: false": "require_masking: true"}  # what every hospital wants


@pytest.fixture(scope="module")
def simulated(three) -> dict[str, Any]:
    (three.folder / "masked.yaml").write_text(MASKED, encoding="utf-8")
    three.run("simulate", "masked.yaml")
    return models_in(three.folder / "runs" / "masked")


def test_a_masked_consortium_ends_with_the_models_of_the_simulation(three, simulated, tmp_path_factory):
    names = ("north", "south", "west")
    with consortium(tmp_path_factory.mktemp("c"), three.folder / "data", names, settings=ONLY_MASKED) as place:
        said = place.lead("run", "masked.yaml", expect=1)
        assert "trusts no roster yet" in said
        place.trust_each_other()
        place.lead("run", "masked.yaml", "--overwrite")
        assert place.models("masked") == simulated
        place.verify_logs("masked")
        for entry in place.metrics("masked")["rounds"][1:]:
            assert {site["masked"] for site in entry["sites"].values()} == {True}
        refused = place.lead("run", "three.yaml", expect=1)
        assert "the hospital lets updates leave only masked (limits.require_masking)" in refused
    assert place.processes() == []


def working(place: Consortium, site: str, number: int) -> bool:
    """Whether the hospital has the round's task, and builds its network."""
    events = read_events(place.site(site) / "run" / "events.jsonl")[0]
    return any((event.get("stage"), event.get("round")) == ("model", number) for event in events)


def has_masked(place: Consortium, site: str, number: int) -> bool:
    """Whether the hospital has masked an update of the round: from then on it is on its way."""
    return any(str(number) in json.loads(file.read_text())["rounds"] for file in place.site(site).rglob("masking.json"))


def closed(place: Consortium, number: int) -> bool:
    """Whether the round's second message goes out."""
    return (place.run_folder("masked") / "masking" / f"closed-{number:04d}.json").exists()


def test_hospitals_that_are_killed_before_and_in_each_message_change_no_bit(three, simulated, tmp_path_factory):
    names = ("north", "south", "west")
    with consortium(tmp_path_factory.mktemp("c"), three.folder / "data", names, settings=ONLY_MASKED) as place:
        place.trust_each_other()
        run = place.start("run", "masked.yaml", "--folder", str(place.folder), told="run.txt")
        wait_for(lambda: working(place, "north", 1), "north to work on round 1")
        place.kill("north", "worker")
        wait_for(lambda: has_masked(place, "south", 2), "south to mask in round 2")
        place.kill("south", "supernode")
        wait_for(lambda: closed(place, 2), "the sum of round 2")
        place.kill("north", "worker")
        wait_for(lambda: closed(place, 3), "the sum of round 3")
        place.kill("south", "supernode")
        assert run.wait(600) == 0
        assert place.models("masked") == simulated
    assert place.processes() == []


def test_a_lead_that_is_killed_in_each_message_goes_on_to_the_same_bits(three, simulated, tmp_path_factory):
    names = ("north", "south", "west")
    with consortium(tmp_path_factory.mktemp("c"), three.folder / "data", names, settings=ONLY_MASKED) as place:
        place.trust_each_other()
        run = place.start("run", "masked.yaml", "--folder", str(place.folder), told="run.txt")
        wait_for(lambda: has_masked(place, "south", 2), "south to mask in round 2")
        place.kill("lead", "serverapp")
        assert run.wait(300) == 1
        run = place.start("run", "--resume", "masked", "--folder", str(place.folder), told="again.txt")
        wait_for(lambda: closed(place, 3), "the sum of round 3")
        place.kill("lead", "serverapp")
        assert run.wait(300) == 1
        place.lead("run", "--resume", "masked")
        assert place.models("masked") == simulated
    assert place.processes() == []
