"""ROC-AUC, its error and differences, against a published analysis, against the bootstrap and by hand."""

import numpy as np
import pytest

from fedthorax.common.metrics.delong import delong_difference, holm

from ...heads import disease_resamples
from .one_area import delong_roc_auc

# Albumin, total protein, K-G score (10 minus it ranks) and outcome of the ovarian-cancer patients of DeLong, DeLong and
# Clarke-Pearson (1988), as SAS/STAT's documentation prints them: PROC LOGISTIC, "Comparing Receiver Operating
# Characteristic Curves". The expected figures are that page's.
OVARIAN = np.fromstring(
    """
    3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
    3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
    4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
    4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
    2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
    """,
    sep=" ",
).reshape(-1, 4)
OUTCOME = OVARIAN[:, 3] == 1
ALBUMIN, PROTEIN, KG_SCORE = OVARIAN[:, 0], OVARIAN[:, 1], 10 - OVARIAN[:, 2]
PATIENTS = [str(row) for row in range(len(OVARIAN))]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (ALBUMIN, (0.7366, 0.0927, 0.5549, 0.9182)),
        (KG_SCORE, (0.7258, 0.1028, 0.5243, 0.9273)),
        (PROTEIN, (0.6478, 0.1000, 0.4518, 0.8439)),
    ],
)
def test_areas_errors_and_intervals_are_the_published_ones(score, expected):
    area = delong_roc_auc(OUTCOME, score, PATIENTS)
    assert (area.value, area.standard_error, *area.interval) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(ALBUMIN, (0.0108, 0.0953, -0.1761, 0.1976, 0.9102)), (PROTEIN, (-0.0780, 0.1046, -0.2830, 0.1271, 0.4561))],
)
def test_paired_differences_are_the_published_ones(score, expected):
    found = delong_difference(OUTCOME, score, KG_SCORE, PATIENTS)
    assert (found.value, found.standard_error, *found.interval, found.p_value) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("images_of_a_patient", [1, 3])
def test_delong_and_the_bootstrap_agree_on_a_large_sample(images_of_a_patient):
    rng = np.random.default_rng(5)
    count = 3000
    patients = [str(row // images_of_a_patient) for row in range(count)]
    own = np.repeat(rng.normal(size=count // images_of_a_patient), images_of_a_patient)
    present = rng.random(count) < 0.3
    probability = 1 / (1 + np.exp(-(present + own + rng.normal(size=count))))
    resamples = disease_resamples(
        present[:, None].astype(float), probability[:, None], patients, ["Mass"], 0.5, 1000, 1
    )
    bootstrap = resamples.values["per_finding", "Mass", "roc_auc"]
    area = delong_roc_auc(present, probability, patients)
    assert area.value == pytest.approx(bootstrap[0], abs=1e-12)
    assert area.standard_error == pytest.approx(bootstrap[1:].std(), rel=0.08)
    assert area.interval == pytest.approx(np.percentile(bootstrap[1:], [2.5, 97.5]), abs=0.004)


def test_of_patients_with_one_positive_and_one_negative_each_the_error_is_that_of_the_mean_of_their_two_parts():
    positives, negatives = np.array([0.9, 0.4, 0.7, 0.6]), np.array([0.5, 0.1, 0.8, 0.2])
    right = (positives[:, None] > negatives).astype(float)
    parts = right.mean(axis=1) + right.mean(axis=0)  # of each patient: its positive's, and its negative's
    area = delong_roc_auc(np.repeat([True, False], 4), np.concatenate([positives, negatives]), 2 * list("abcd"))
    assert area.value == right.mean()
    assert area.standard_error == pytest.approx(parts.std(ddof=1) / 4**0.5)


def test_copies_of_a_patients_image_add_no_certainty():
    once = delong_difference(OUTCOME, ALBUMIN, KG_SCORE, PATIENTS)
    twice = delong_difference(np.tile(OUTCOME, 2), np.tile(ALBUMIN, 2), np.tile(KG_SCORE, 2), [*PATIENTS, *PATIENTS])
    assert twice.standard_error == pytest.approx(once.standard_error)


def test_what_cannot_be_computed_is_none():
    one_each = delong_roc_auc(np.array([True, False]), np.array([0.1, 0.2]), ["a", "b"])
    assert (one_each.value, one_each.standard_error, one_each.interval) == (0.0, None, None)
    assert delong_difference(np.array([True, False]), np.ones(2), np.ones(2), ["a", "b"]) is None


def test_a_model_differs_from_itself_by_nothing():
    found = delong_difference(OUTCOME, ALBUMIN, 2 * ALBUMIN, PATIENTS)
    assert (found.value, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_a_perfect_model_against_a_useless_one_has_no_error_to_test_with():
    present = np.array([True, True, False, False])
    assert delong_difference(present, present.astype(float), np.ones(4), list("abcd")) is None


def test_holm_multiplies_the_smallest_p_value_most_and_never_falls():
    # 3 x 0.01, then the larger of 2 x 0.02 and 0.03, then 1 x 0.9
    assert holm({"b": 0.02, "c": 0.9, "a": 0.01}) == pytest.approx({"b": 0.04, "c": 0.9, "a": 0.03})
    assert holm({"a": 0.02, "b": 0.03}) == pytest.approx({"a": 0.04, "b": 0.04})
    assert holm({}) == {}
