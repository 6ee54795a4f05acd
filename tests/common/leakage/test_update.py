"""What one update tells the server, in the clear and masked."""

import numpy as np
import pytest

from fedthorax.common.leakage.update import _trained, as_seen, updates


def by_how(found, kind="xray"):
    return {one.seen: one for one in found if one.modality == kind and one.hospital == "north"}


def test_in_the_clear_an_update_names_its_patients_and_under_masks_it_does_not(heads, start, draw_pool):
    pool = draw_pool(16, 40, ("north", "south", "east"))
    found = updates(heads, pool, start, 1)
    assert len(found) == 3 * 3 * 2
    told = by_how(found)
    assert told["plain"].alignment.interval[0] > 0.6
    assert told["plain"].cosine > told["plain"].cosine_others + 0.05
    assert told["plain"].features.interval[0] > 0.5
    # Masks are secret and new in every run, so an interval would leave out a half now and then: the mean of six does
    # not, at six of its standard deviations.
    masked = [one for one in found if one.seen == "masked words"]
    assert len(masked) == 6
    assert np.mean([one.alignment.value for one in masked]) == pytest.approx(0.5, abs=0.2)
    assert np.mean([one.features.value for one in masked]) == pytest.approx(0.5, abs=0.2)
    assert np.mean([one.cosine - one.cosine_others for one in masked]) == pytest.approx(0, abs=0.02)
    assert told["masked sum"].alignment.value < told["plain"].alignment.value


def test_a_hospital_alone_masks_with_made_up_ones_and_sees_no_sum(heads, start, draw_pool):
    assert set(by_how(updates(heads, draw_pool(8, 8), start, 1))) == {"plain", "masked words"}


def test_without_strangers_to_compare_with_nothing_is_said(heads, start, draw_pool):
    assert updates(heads, draw_pool(8, 0), start, 1) == ()


def test_steps_in_the_clear_are_the_update_and_the_sum_is_that_of_all(heads, start, draw_pool):
    pool = draw_pool(8, 0, ("a", "b", "c"))
    chosen = {name: pool.trained & np.array([at == name for at in pool.hospitals]) for name in "abc"}
    trained = {
        name: _trained(heads, pool, start, pool.images_of(of), number)
        for number, (name, of) in enumerate(chosen.items())
    }
    seen = as_seen(heads, start, trained)
    steps = {name: 8 * (update["disease"] - start["disease"]) for name, (_, update) in trained.items()}
    assert seen["a", "plain"]["disease"] == pytest.approx(steps["a"], abs=1e-6)
    assert seen["a", "masked sum"]["disease"] == pytest.approx(sum(steps.values()), abs=1e-6)
    assert np.abs(seen["a", "masked words"]["disease"]).max() > 1e5
