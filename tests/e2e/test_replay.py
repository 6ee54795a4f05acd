"""A run made again from its own record: where two runs part, and what is said before anything runs. That a replay has
the same bits: test_same_bits.py."""

import json
import shutil

import pytest

pytestmark = pytest.mark.ci


@pytest.fixture
def other_north(workplace):
    """North has one X-ray less for the time of a test."""
    file = sorted((workplace.folder / "data" / "north" / "xray" / "images").iterdir())[0]
    labels = workplace.folder / "data" / "north" / "xray" / "labels.csv"
    text, kept = labels.read_text(), workplace.folder / file.name
    labels.write_text("".join(line for line in text.splitlines(keepends=True) if file.name not in line))
    shutil.move(file, kept)
    yield
    shutil.move(kept, file)
    labels.write_text(text)


@pytest.mark.slow
def test_one_hospitals_run_is_made_again_at_that_hospital(workplace, simulated):
    workplace.run("train", "tiny.yaml", "--hospital", "south", "--name", "south-alone")
    found = json.loads(workplace.run("replay", "runs/south-alone", "--json").stdout)
    assert found["same"]
    assert list(workplace.metrics("south-alone-replay")["sites"]) == ["south"]


@pytest.mark.slow
def test_another_seed_parts_in_the_first_round_of_training(workplace, simulated):
    workplace.run("simulate", "tiny.yaml", "--name", "other-seed", "--set", "seed=6")
    told = workplace.run("replay", "runs/tiny", "--against", "runs/other-seed", expect=3).stdout
    assert "weights   others from round 0 on: SHA-256 " in told
    assert told.splitlines()[-1] == "runs/tiny and runs/other-seed: different"


def test_changed_data_are_named_before_anything_runs(workplace, simulated, other_north):
    refused = workplace.run("replay", "runs/tiny", "--name", "with-other-data", expect=1)
    assert "data      north: images, labels or splits have changed" in refused.stdout
    assert refused.stderr.startswith("error: the data of north are not those of the run")
    assert not (workplace.folder / "runs" / "with-other-data").exists()
    checked = json.loads(workplace.run("replay", "runs/tiny", "--check", "--json", expect=3).stdout)
    assert list(checked["conditions"]["data"]) == ["north"]
