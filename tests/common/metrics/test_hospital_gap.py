import numpy as np
import pytest

from fedthorax.common.metrics.hospital_gap import hospital_gaps, roc_auc_with_error
from fedthorax.common.metrics.score_histogram import ScoreHistogram, score_histogram

from .one_area import delong_roc_auc


def histogram(skill, seed, num_images=400, bins=100):
    rng = np.random.default_rng(seed)
    truth = (rng.random(num_images) < 0.3).astype(float)
    probability = 1 / (1 + np.exp(-(rng.normal(0, 1, num_images) + skill * truth - 1)))
    return score_histogram(truth, probability, bins)


def test_area_and_error_are_delongs_of_the_binned_scores():
    found = histogram(1.0, 1, bins=20)
    middle = np.arange(len(found.present))
    present = np.repeat([True, False], [sum(found.present), sum(found.absent)])
    score = np.concatenate([np.repeat(middle, found.present), np.repeat(middle, found.absent)])
    exact = delong_roc_auc(present, score, [str(row) for row in range(len(score))])
    told = roc_auc_with_error(found)
    assert told.value == pytest.approx(exact.value)
    assert told.error == pytest.approx(exact.standard_error)


def test_the_gap_is_to_the_mean_of_the_other_hospitals():
    told = {"a": histogram(0.2, 1), "b": histogram(2.0, 2), "c": histogram(2.0, 3)}
    groups = hospital_gaps({"Mass": told}, ["Mass"])["groups"]
    row = groups["a"]["labels"]["Mass"]["roc_auc"]
    others = [roc_auc_with_error(told[name]) for name in "bc"]
    assert row["others"] == pytest.approx((others[0].value + others[1].value) / 2)
    assert row["gap"] == pytest.approx(row["value"] - row["others"])
    assert row["gap_interval"][1] < -0.1
    assert groups["a"]["mean"] == {"labels": ["Mass"], "reason": None, "roc_auc": row}
    assert groups["b"]["labels"]["Mass"]["roc_auc"]["gap_interval"][0] > 0
    assert groups["a"]["images"] == 400


def test_a_mean_over_labels_is_at_most_as_uncertain_as_the_mean_of_their_errors():
    told = {label: {"a": histogram(1, k), "b": histogram(1, k + 5)} for k, label in enumerate(("Mass", "Nodule"))}
    group = hospital_gaps(told, ["Mass", "Nodule"])["groups"]["a"]
    widths = [np.diff(group["labels"][label]["roc_auc"]["interval"])[0] for label in told]
    assert np.diff(group["mean"]["roc_auc"]["interval"])[0] == pytest.approx(np.mean(widths))


def test_few_images_and_a_silent_hospital_are_not_compared():
    few = ScoreHistogram(bins=4, edges=(0, 2, 4), present=(3, 6), absent=(30, 20))
    told = {"Mass": {"a": few, "b": histogram(1, 1)}, "Nodule": {"b": histogram(1, 2)}}
    groups = hospital_gaps(told, ["Mass", "Nodule"])["groups"]
    mass = groups["a"]["labels"]["Mass"]
    assert mass["descriptive"]
    assert mass["roc_auc"]["value"] == pytest.approx((3 * 15 + 6 * 40) / (9 * 50))
    assert mass["roc_auc"]["interval"] is mass["roc_auc"]["gap"] is None
    assert "does not tell" in groups["a"]["labels"]["Nodule"]["reason"]
    assert groups["a"]["mean"]["roc_auc"]["value"] is None
    assert groups["a"]["mean"]["reason"]
    assert groups["b"]["labels"]["Nodule"]["roc_auc"]["interval"]
    assert groups["b"]["labels"]["Nodule"]["roc_auc"]["gap"] is None


def test_two_images_of_either_kind_are_needed():
    assert roc_auc_with_error(ScoreHistogram(bins=2, edges=(0, 2), present=(0,), absent=(5,))) is None
    assert roc_auc_with_error(ScoreHistogram(bins=2, edges=(0, 1, 2), present=(0, 1), absent=(5, 5))) is None


def test_what_the_bins_leave_open_widens_the_interval():
    fine, coarse = histogram(1.0, 1, bins=1000), histogram(1.0, 1, bins=4)
    assert roc_auc_with_error(fine).blur < 0.01 < roc_auc_with_error(coarse).blur
    groups = hospital_gaps({"Mass": {"a": coarse, "b": coarse}}, ["Mass"])["groups"]
    low, high = groups["a"]["labels"]["Mass"]["roc_auc"]["gap_interval"]
    assert high - low > 4 * roc_auc_with_error(coarse).blur
