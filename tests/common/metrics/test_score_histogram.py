"""Pooled figures from histograms against the exact ones of the pooled rows."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fedthorax.common.metrics.score_histogram import (
    ScoreHistogram,
    coarsened,
    pooled,
    pooled_figures,
    score_histogram,
    too_few,
)

from ...told import read


def hospital(seed: int, images: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probability of a rare finding; hospitals differ in how they shift the score."""
    random = np.random.default_rng(seed)
    truth = (random.random(images) < 0.2).astype(float)
    logit = random.normal(-3 + seed, 1.5, images) + 1.5 * truth
    return truth, 1 / (1 + np.exp(-logit))


SITES = [hospital(seed) for seed in range(3)]
TRUTH, PROBABILITY = (np.concatenate(parts) for parts in zip(*SITES, strict=True))


@pytest.mark.parametrize(("bins", "smallest", "width"), [(2000, 0, 0.02), (100, 0, 0.1), (20, 0, 0.35), (100, 5, 0.45)])
def test_the_exact_figures_of_the_pooled_images_lie_within_the_bounds(bins, smallest, width):
    found = pooled_figures(pooled([score_histogram(*site, bins, smallest) for site in SITES]))
    for name, exact in (
        ("roc_auc", roc_auc_score(TRUTH, PROBABILITY)),
        ("pr_auc", average_precision_score(TRUTH, PROBABILITY)),
    ):
        figure = found[name]
        assert figure["lowest"] - 1e-12 <= exact <= figure["highest"] + 1e-12
        assert figure["lowest"] <= figure["value"] <= figure["highest"]
        assert figure["highest"] - figure["lowest"] < width
    assert (found["present"], found["absent"]) == (TRUTH.sum(), (1 - TRUTH).sum())


def test_the_mean_of_the_hospitals_own_figures_is_another_number():
    """The reason for all this: each hospital ranks its own images well, but their scales differ."""
    mean = np.mean([roc_auc_score(*site) for site in SITES])
    pool = pooled_figures(pooled([score_histogram(*site, 2000) for site in SITES]))["roc_auc"]["value"]
    assert mean - pool > 0.02


def test_fine_bins_give_the_calibration_error_of_those_bins():
    histogram = pooled([score_histogram(*site, 400) for site in SITES])
    figure = pooled_figures(histogram)["calibration_error"]
    assert figure["lowest"] <= figure["value"] <= figure["highest"]
    assert figure["highest"] - figure["lowest"] < 0.01


def test_hand_sized_numbers():
    """Bins from low to high: one absent; one of each; one present."""
    figures = pooled_figures(ScoreHistogram(bins=3, edges=(0, 1, 2, 3), present=(0, 1, 1), absent=(1, 1, 0)))
    assert figures["roc_auc"] == {"value": 0.875, "lowest": 0.75, "highest": 1.0}
    # From the top: precision 1; then 2 of 3, or 2 of 2 where the present one stands first.
    assert figures["pr_auc"] == pytest.approx({"value": 11 / 12, "lowest": (1 + 2 / 3) / 2, "highest": 1.0})


def test_small_counts_are_joined_with_their_neighbours():
    fine = ScoreHistogram(bins=5, edges=(0, 1, 2, 3, 4, 5), present=(1, 0, 4, 0, 2), absent=(6, 1, 4, 9, 0))
    coarse = coarsened(fine, 5)
    assert coarse == ScoreHistogram(bins=5, edges=(0, 5), present=(7,), absent=(20,))
    assert coarsened(fine, 0) == fine
    assert all(count == 0 or count >= 2 for count in (*coarsened(fine, 2).present, *coarsened(fine, 2).absent))
    assert too_few(ScoreHistogram(bins=1, edges=(0, 1), present=(4,), absent=(99,)), 5)


def test_hospitals_with_other_bins_are_pooled_in_those_that_they_share():
    one = ScoreHistogram(bins=4, edges=(0, 1, 2, 4), present=(1, 2, 3), absent=(0, 0, 1))
    other = ScoreHistogram(bins=4, edges=(0, 2, 3, 4), present=(5, 0, 1), absent=(1, 1, 1))
    assert pooled([one, other]) == ScoreHistogram(bins=4, edges=(0, 2, 4), present=(8, 4), absent=(1, 3))


def test_without_one_of_the_labels_the_figures_are_undefined_with_the_reason():
    found = pooled_figures(score_histogram(np.zeros(3), np.array([0.1, 0.2, 0.3]), 10))
    assert found["roc_auc"] is None
    assert found["reason"] == "no image with it among those that were told"


def test_unknown_labels_do_not_count():
    histogram = score_histogram(np.array([1, np.nan, 0]), np.array([0.9, 0.9, 0.1]), 10)
    assert (sum(histogram.present), sum(histogram.absent)) == (1, 1)


GOOD = {"bins": 2, "edges": [0, 1, 2], "present": [1, 2], "absent": [3, 4]}


def test_a_histogram_arrives_as_it_was_sent():
    assert read(ScoreHistogram, **GOOD).model_dump(mode="json") == GOOD


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bins": 3}, "edges must rise from 0 to 3"),
        ({"edges": [0, 2, 1]}, "edges must rise from 0 to 2"),
        ({"edges": [0, 1]}, "edges must rise from 0 to 2"),
        ({"edges": [0]}, "at least 2 items"),
        ({"present": [1]}, "has 2 bins, but counts 1 and 2"),
        ({"absent": [1, -2]}, "greater than or equal to 0"),
        ({"absent": [1, 0.5]}, "valid integer"),
        ({"rows": []}, "Extra inputs"),
    ],
)
def test_what_is_no_histogram_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        read(ScoreHistogram, **GOOD | changes)
