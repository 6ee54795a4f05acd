"""The whole on toy heads: one JSON, one page, and nothing that was not measured."""

import json
from pathlib import Path

import pytest

from fedthorax.common.leakage import measure
from fedthorax.common.leakage.found import Leakage, leakage_schema
from fedthorax.common.leakage.page import answers, audit_words, leakage_page
from fedthorax.common.leakage.references import Answers, margins, trainer

pytestmark = pytest.mark.ci  # the one measurement that all of them read
DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def found(heads, start, draw_pool, tmp_path, monkeypatch, kept):
    """Four reference runs instead of sixteen, against a model that was trained on the hospitals' patients."""
    if "found" not in kept:
        monkeypatch.setattr(measure, "LIRA_RUNS", 4)
        pool = draw_pool(16, 48, ("north", "south", "east"))
        trainer(heads, start, range(1, 13))(pool, pool.trained, 1, lambda: None)
        target = Answers(pool.trained, margins(heads, pool))
        nothing = lambda *of: None  # noqa: E731
        kept["found"] = measure.attacked(heads, pool, start, target, tmp_path, 40, nothing, nothing)
    return kept["found"]


def test_a_run_that_learnt_by_heart_is_found_out(found):
    told = {one.modality: one for one in found.membership}
    assert set(told) == {"xray", "ct"}
    assert (told["xray"].target, told["xray"].units) == ("run", "patients")
    assert (told["xray"].members, told["xray"].others) == (48, 144)
    assert told["xray"].attacks["lira"].area.interval[0] > 0.8
    names = {group.name for group in told["xray"].groups}
    assert {"hospital north", "Mass"} <= names
    assert found.audit.canaries == 40
    assert {(one.hospital, one.seen) for one in found.updates} == {
        (site, seen) for site in ("north", "south", "east") for seen in ("plain", "masked words", "masked sum")
    }


def test_the_json_is_of_the_published_schema_and_comes_back(found):
    """`python -m fedthorax.common.leakage.found > docs/leakage.schema.json` writes it anew."""
    assert json.loads((DOCS / "leakage.schema.json").read_text(encoding="utf-8")) == leakage_schema()
    assert Leakage.model_validate_json(found.model_dump_json()) == found


def test_the_page_tells_what_was_found_tried_and_left_out_and_loads_nothing(found):
    page = leakage_page(found)
    lines = answers(found)
    assert lines[0].startswith("X-rays: the best attack (")
    assert len(lines) == 3
    for text in ("Membership: CT slices", "One update", "Control: membership shuffled", "Audit of the training"):
        assert text in page
    assert "Images are not rebuilt from gradients." in page
    assert "it is no promise about others" in page
    assert "anonym" not in page.lower()
    assert "http" not in page.replace("http-equiv", "")


def test_units_that_are_images_are_called_so(found):
    (one, *rest) = found.membership
    page = leakage_page(found.model_copy(update={"membership": (one.model_copy(update={"units": "images"}), *rest)}))
    assert "Nobody knows whose the images are: figures count images." in page


def test_a_broken_promise_stands_in_capitals(found):
    broken = found.audit.model_copy(update={"claimed": 0.1, "broken": True})
    assert "IT LEAKS MORE THAN IT PROMISES" in audit_words(found.model_copy(update={"audit": broken}))
    kept_promise = found.audit.model_copy(update={"claimed": 8.0, "broken": False})
    assert "does not refute" in audit_words(found.model_copy(update={"audit": kept_promise}))
    assert audit_words(found.model_copy(update={"audit": None})) == "No audit by canaries was made."


def test_private_heads_are_attacked_and_their_promise_is_audited(
    private_network, private_start, draw_private_pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(measure, "LIRA_RUNS", 2)
    pool, nothing = draw_private_pool(12, 24, ("north", "south", "east")), lambda *of: None
    found = measure.attacked(private_network, pool, private_start, None, tmp_path, 60, nothing, nothing)
    (told,) = found.membership
    assert (told.modality, told.units, told.members, told.others) == ("xray", "patients", 54, 54)
    assert (found.audit.claimed, found.audit.delta, found.audit.broken) == (1.0, 1e-5, False)
    assert {one.seen for one in found.updates} == {"plain", "masked words", "masked sum"}
    assert all(one.features.value is None and one.cosine is None for one in found.updates), "no such layer is trained"
    assert all(one.alignment.value is not None for one in found.updates)
    assert "The training promises 1, which this does not refute." in leakage_page(found)
