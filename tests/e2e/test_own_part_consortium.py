"""What hospitals keep for themselves and weights that travel packed, in a real consortium: the simulation's bits."""

import json
from pathlib import Path
from typing import Any

import keras
import pytest

from fedthorax.common.model.segments import SegmentLayout, weights_digest

from .consortium import Consortium, consortium, models_in

pytestmark = pytest.mark.slow

HOSPITALS = ("north", "south")
LONG = 3600.0  # seconds of a command, also on a machine that does other work
SHORT = "training.phases=[{rounds: 2, trainable: all, learning_rate: 3e-3}]"
FEDBN = "federation.strategy=fedbn"
INT8 = "federation.codec=int8"
PERSONAL = "personalisation={fine_tune: [batch_norm, outputs, heads], epochs: 3, learning_rate: 3e-3}"
RUNS = {"own": (FEDBN, PERSONAL), "packed": (INT8,), "packed-own": (FEDBN, INT8, PERSONAL)}


@pytest.fixture(scope="module")
def ended(workplace, tmp_path_factory) -> Consortium:
    """A consortium after all runs, each of which has been simulated too; all its processes have ended by then."""
    with consortium(tmp_path_factory.mktemp("c"), workplace.folder / "data", HOSPITALS) as place:
        for name, sets in RUNS.items():
            place.lead("run", "tiny.yaml", "--name", name, *options(sets), seconds=LONG)
    for name, sets in RUNS.items():
        workplace.run("simulate", "tiny.yaml", "--name", name, *options(sets), seconds=LONG)
    return place


def options(sets: tuple[str, ...]) -> list[str]:
    return [part for one in (SHORT, *sets) for part in ("--set", one)]


def digest(file: Path) -> str:
    return weights_digest(SegmentLayout(keras.models.load_model(file, compile=False)).read())


def results(place: Consortium, site: str, name: str) -> Path:
    return place.site(site) / "results" / name / "model"


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_with_the_bits_and_the_scores_of_the_simulation(ended, workplace, name):
    assert ended.models(name) == models_in(workplace.folder / "runs" / name)
    there, here = ended.metrics(name), workplace.metrics(name)
    assert there["test"] == here["test"]
    for one, other in zip(there["rounds"], here["rounds"], strict=True):
        assert one["central"] == other["central"]
        assert one["failures"] == one["warnings"] == []
        assert {site: entry["valid"] for site, entry in one["sites"].items()} == {
            site: entry["valid"] for site, entry in other["sites"].items()
        }


@pytest.mark.parametrize("name", [name for name, sets in RUNS.items() if PERSONAL in sets])
def test_every_hospital_keeps_the_model_of_its_own_that_it_has_in_the_simulation(ended, workplace, name):
    kept: dict[str, Any] = {}
    for site in HOSPITALS:
        told, simulated = (found["sites"][site]["personal"] for found in (ended.metrics(name), workplace.metrics(name)))
        kept[site] = told["kept"]
        assert told["kept"] == simulated["kept"]
        mine = results(ended, site, name) / "personal.keras"
        theirs = workplace.folder / "runs" / name / "personal" / site / "model.keras"
        assert mine.is_file() == theirs.is_file() == (told["kept"] is not None)
        if mine.is_file():
            assert digest(mine) == digest(theirs)
    assert any(kept.values()), "nobody has kept a model of its own, so nothing was compared"


@pytest.mark.parametrize("name", [name for name, sets in RUNS.items() if FEDBN in sets])
def test_a_hospital_gets_the_common_model_with_its_own_batch_normalisation(ended, name):
    best = {site: digest(results(ended, site, name) / "best.keras") for site in HOSPITALS}
    common = ended.models(name)["best.keras"]["weights_sha256"]
    assert len({*best.values(), common}) == 3
    for site in HOSPITALS:
        facts = json.loads((results(ended, site, name) / "model.json").read_text())
        assert facts["models"]["best.keras"]["weights_sha256"] == best[site]


@pytest.mark.parametrize("name", [name for name, sets in RUNS.items() if INT8 in sets])
def test_packed_weights_take_less_of_the_line(ended, workplace, name):
    packed, plain = ended.metrics(name)["totals"], ended.metrics("own")["totals"]
    assert packed["bytes_received"] < 0.5 * plain["bytes_received"]


def test_every_log_is_a_whole_chain(ended):
    ended.verify_logs(*RUNS)
