"""What hospitals keep for themselves and weights that travel packed, in a real consortium. That the bits are those of
the simulation: test_same_bits.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import FEDBN, HOSPITALS, INT8, OWN_RUNS
from .consortium import Consortium
from .same_bits import digest, undisturbed

pytestmark = pytest.mark.slow


def runs_with(setting: str) -> list[str]:
    return [name for name, settings in OWN_RUNS.items() if any(one.startswith(setting) for one in settings)]


def results(place: Consortium, site: str, name: str) -> Path:
    return place.site(site) / "results" / name / "model"


@pytest.mark.parametrize("name", runs_with("personalisation"))
def test_every_hospital_keeps_the_model_of_its_own_that_it_has_in_the_simulation(led_own, workplace, simulated, name):
    kept: dict[str, Any] = {}
    alone = undisturbed(workplace, *OWN_RUNS[name])
    for site in HOSPITALS:
        told, there = (
            found["sites"][site]["personal"] for found in (led_own.metrics(name), workplace.metrics(alone.name))
        )
        kept[site] = told["kept"]
        assert told["kept"] == there["kept"]
        mine = results(led_own, site, name) / "personal.keras"
        theirs = alone / "personal" / site / "model.keras"
        assert mine.is_file() == theirs.is_file() == (told["kept"] is not None)
        if mine.is_file():
            assert digest(mine) == digest(theirs)
    assert any(kept.values()), "nobody has kept a model of its own, so nothing was compared"


@pytest.mark.parametrize("name", runs_with(FEDBN))
def test_a_hospital_gets_the_common_model_with_its_own_batch_normalisation(led_own, name):
    """The last model: the best one may be that of round 0, of which no hospital has a part of its own yet."""
    last = {site: digest(results(led_own, site, name) / "last.keras") for site in HOSPITALS}
    common = led_own.models(name)["last.keras"]["weights_sha256"]
    assert len({*last.values(), common}) == 3
    for site in HOSPITALS:
        facts = json.loads((results(led_own, site, name) / "model.json").read_text())
        assert facts["models"]["last.keras"]["weights_sha256"] == last[site]


@pytest.mark.parametrize("name", runs_with(INT8))
def test_packed_weights_take_less_of_the_line(led_own, name):
    packed, plain = led_own.metrics(name)["totals"], led_own.metrics("own")["totals"]
    assert packed["bytes_received"] < 0.5 * plain["bytes_received"]


def test_every_log_is_a_whole_chain(led_own):
    led_own.verify_logs(*OWN_RUNS)
