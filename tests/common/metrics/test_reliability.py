import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from ...heads import cancer_calibration, disease_calibration


def of_one(truth, probability, bins=2, samples=50):
    patients = [str(row) for row in range(len(truth))]
    return disease_calibration(
        np.array(truth, float)[:, None], np.array(probability)[:, None], patients, ["Mass"], bins, samples, 0
    )["Mass"]


def test_the_error_and_its_bins_are_those_that_a_hand_computes():
    # below 0.5: mean 0.2, one of three positive; above: mean 0.8, one of one
    found = of_one([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8])
    low, high = found["bins"]
    assert (low["count"], high["count"]) == (3, 1)
    assert low["mean_probability"] == pytest.approx(0.2)
    assert low["share_positive"] == pytest.approx(1 / 3)
    assert found["ece"] == pytest.approx((3 * (1 / 3 - 0.2) + 1 * 0.2) / 4)
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.49 + 0.04) / 4)


def test_the_brier_score_is_scikit_learns():
    rng = np.random.default_rng(0)
    truth, probability = rng.integers(0, 2, 60), rng.random(60)
    found = of_one(truth, probability, bins=10)
    assert found["brier"] == pytest.approx(brier_score_loss(truth, probability))
    low, high = found["brier_interval"]
    assert low < found["brier"] < high


def test_unknown_labels_are_left_out_and_empty_bins_too():
    assert of_one([1, np.nan], [1.0, 0.2], bins=4) == of_one([1], [1.0], bins=4)
    assert [entry["low"] for entry in of_one([1, 0], [1.0, 0.1], bins=4)["bins"]] == [0.0, 0.75]
    nothing = of_one([np.nan], [0.5])
    assert (nothing["ece"], nothing["brier"], nothing["reason"]) == (None, None, "No label is known.")


def test_one_patient_alone_has_no_interval():
    assert of_one([1], [0.7])["ece_interval"] is None


def test_of_the_ct_classes_the_most_probable_one_is_judged():
    truth = np.array([0, 1, -1, 1])
    probability = np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])
    found = cancer_calibration(truth, probability, list("abcd"), ("x", "y"), 1, 20, 0)
    assert found["known"] == 3
    assert found["bins"][0]["share_positive"] == pytest.approx(2 / 3)
    assert found["ece"] == pytest.approx(abs(2 / 3 - (0.9 + 0.6 + 0.8) / 3))
    assert found["brier"] == pytest.approx((2 * 0.01 + 2 * 0.36 + 2 * 0.04) / 3)
