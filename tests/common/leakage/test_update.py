"""What one update tells the server, in the clear and masked."""

import numpy as np
import pytest

from fedthorax.common.leakage.references import trainer
from fedthorax.common.leakage.update import after, as_seen, updates


@pytest.fixture
def train(heads, start):
    return trainer(heads, start, [1])


def means_of(found, how):
    """Over three hospitals and two kinds of image."""
    told = [one for one in found if one.seen == how]
    assert len(told) == 6
    return {
        "alignment": np.mean([one.alignment.value for one in told]),
        "features": np.mean([one.features.value for one in told]),
        "cosine": np.mean([one.cosine - one.cosine_others for one in told]),
    }


@pytest.mark.ci
def test_in_the_clear_an_update_names_its_patients_and_under_masks_it_does_not(heads, start, train, draw_pool):
    pool = draw_pool(16, 40, ("north", "south", "east"))
    found = updates(heads, pool, start, train, 1)
    assert len(found) == 3 * 3 * 2
    means = {how: means_of(found, how) for how in ("plain", "masked words", "masked sum")}
    assert means["plain"]["alignment"] > 0.7
    assert means["plain"]["features"] > 0.9
    assert means["plain"]["cosine"] > 0.3
    assert means["masked words"]["alignment"] == pytest.approx(0.5, abs=0.2)
    assert means["masked words"]["features"] == pytest.approx(0.5, abs=0.2)
    assert means["masked words"]["cosine"] == pytest.approx(0, abs=0.02)
    assert means["masked sum"]["alignment"] < means["plain"]["alignment"]


def test_of_a_hospital_alone_there_is_no_sum(heads, start, train, draw_pool):
    assert {one.seen for one in updates(heads, draw_pool(8, 8), start, train, 1)} == {"plain", "masked words"}


def test_without_strangers_to_compare_with_nothing_is_said(heads, start, train, draw_pool):
    assert updates(heads, draw_pool(8, 0), start, train, 1) == ()


def test_steps_in_the_clear_are_the_update_and_the_sum_is_that_of_all(heads, start, train, draw_pool):
    pool = draw_pool(8, 0, ("a", "b", "c"))
    chosen = {name: pool.trained & np.array([at == name for at in pool.hospitals]) for name in "abc"}
    trained = {name: after(heads, pool, train, of, number) for number, (name, of) in enumerate(chosen.items())}
    seen = as_seen(heads, start, trained, 1)
    steps = {name: 8 * (update["disease"] - start["disease"]) for name, (_, update) in trained.items()}
    assert seen["a", "plain"]["disease"] == pytest.approx(steps["a"], abs=1e-6)
    assert seen["a", "masked sum"]["disease"] == pytest.approx(sum(steps.values()), abs=1e-6)
    assert np.abs(seen["a", "masked words"]["disease"]).max() > 1e5
