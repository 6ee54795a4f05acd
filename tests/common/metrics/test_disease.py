import math

import numpy as np
import pytest

from ...heads import disease_scores

NAN = math.nan

RANKINGS = ("roc_auc", "pr_auc", "sensitivity_at_specificity")
METRICS = (*RANKINGS, "accuracy", "precision", "recall", "specificity", "f1")  # those that are counted by hand here


def scores_of(truth, probability, threshold=0.5):
    truth, probability = np.array(truth, np.float32), np.array(probability, np.float32)
    names = [f"finding {index}" for index in range(truth.shape[1])]
    return disease_scores(truth, probability, names, threshold)


def test_one_finding_gives_the_figures_that_a_hand_computes():
    # predicted from 0.5 on: yes, yes, no, no -> 1 true positive, 1 false positive, 1 false negative, 1 true negative
    scores = scores_of([[1], [0], [1], [0]], [[0.9], [0.8], [0.4], [0.1]])
    finding = scores["per_finding"]["finding 0"]
    assert finding == finding | {
        "roc_auc": 0.75,  # of the four (present, absent) pairs only (0.4, 0.8) is in the wrong order
        "pr_auc": pytest.approx((1 / 1 + 2 / 3) / 2),  # precision at the two positives, the first and the third
        "sensitivity_at_specificity": 0.5,  # without a false alarm only the first positive is found
        "accuracy": 0.5,
        "precision": 0.5,
        "recall": 0.5,
        "specificity": 0.5,
        "f1": 0.5,
        "support": 2,
        "known": 4,
        "descriptive": True,
        "reasons": {},
    }


def test_an_unknown_label_is_in_no_numerator_and_no_denominator():
    without = scores_of([[1], [0], [1]], [[0.9], [0.8], [0.4]])
    with_unknown = scores_of([[1], [NAN], [0], [1], [NAN]], [[0.9], [0.99], [0.8], [0.4], [0.0]])
    assert with_unknown == without


def test_a_probability_equal_to_the_threshold_counts_as_predicted_present():
    assert scores_of([[1], [0]], [[0.5], [0.25]])["per_finding"]["finding 0"]["recall"] == 1.0


def test_each_finding_can_have_its_own_threshold():
    scores = scores_of([[1, 1], [0, 0]], [[0.3, 0.3], [0.2, 0.2]], threshold=[0.25, 0.5])
    assert [row["recall"] for row in scores["per_finding"].values()] == [1.0, 0.0]
    assert scores["per_finding"]["finding 1"]["reasons"] == {
        "precision": "Nothing was predicted present at threshold 0.5."
    }
    assert scores["micro"]["recall"] == 0.5
    with pytest.raises(ValueError, match=r"threshold must be one number or 2, got shape \(3,\)"):
        scores_of([[1, 1]], [[0.3, 0.3]], threshold=[0.1, 0.2, 0.3])


def test_a_finding_with_fewer_than_ten_positives_or_negatives_is_descriptive():
    truth = np.zeros((30, 3))
    truth[:10, 0] = truth[:9, 1] = truth[:21, 2] = 1
    rows = scores_of(truth, np.full((30, 3), 0.5))["per_finding"].values()
    assert [row["descriptive"] for row in rows] == [False, True, True]


@pytest.mark.parametrize(
    ("truth", "probability", "undefined"),
    [
        (
            [NAN, NAN],
            [0.9, 0.1],
            dict.fromkeys(METRICS, "No label is known."),
        ),
        (
            [0, 0],
            [0.9, 0.1],
            dict.fromkeys([*RANKINGS, "recall", "f1"], "None of the known labels (2) is present."),
        ),
        ([1, 1], [0.9, 0.1], dict.fromkeys([*RANKINGS, "specificity"], "All known labels (2) are present.")),
        ([1, 0], [0.2, 0.1], {"precision": "Nothing was predicted present at threshold 0.5."}),
    ],
)
def test_what_is_undefined_is_null_and_says_why(truth, probability, undefined):
    scores = scores_of(np.array(truth)[:, None], np.array(probability)[:, None])
    finding = scores["per_finding"]["finding 0"]
    assert {metric: why for metric, why in finding["reasons"].items() if metric in METRICS} == undefined
    assert {metric for metric in METRICS if finding[metric] is None} == set(undefined)
    for metric in undefined:
        assert scores["macro"][metric] is None
        assert scores["macro"]["num_findings"][metric] == 0
        assert scores["macro"]["reasons"][metric] == "No finding has this figure."


def test_the_macro_mean_runs_over_the_findings_that_have_the_figure_and_says_how_many():
    # finding 0: ROC-AUC 1 with 1 positive; finding 1: 0.5 with 3 positives; finding 2 has no positive
    truth = [[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]
    probability = [[0.9, 0.6, 0.1], [0.1, 0.6, 0.1], [0.2, 0.6, 0.1], [0.3, 0.6, 0.1]]
    scores = scores_of(truth, probability)
    assert scores["macro"]["roc_auc"] == pytest.approx(0.75)
    over = {name: number for name, number in scores["macro"]["num_findings"].items() if name in METRICS}
    assert over == dict.fromkeys(METRICS, 2) | {"accuracy": 3, "specificity": 3}
    assert scores["weighted"]["roc_auc"] == pytest.approx((1 * 1 + 3 * 0.5) / 4)
    assert scores["weighted"]["num_findings"]["accuracy"] == 2
    assert scores["weighted"]["accuracy"] == pytest.approx((1 * 1 + 3 * 0.75) / 4)


def test_the_micro_mean_takes_every_known_cell_alike():
    # known cells: (1, 0.9) (0, 0.8) (1, 0.2) -> predicted yes, yes, no
    scores = scores_of([[1, NAN], [0, 1]], [[0.9, 0.7], [0.8, 0.2]])
    assert scores["micro"]["accuracy"] == pytest.approx(1 / 3)
    assert scores["micro"]["precision"] == 0.5
    assert scores["micro"]["recall"] == 0.5
    assert scores["micro"]["roc_auc"] == 0.5
    assert scores["micro"]["num_findings"]["roc_auc"] == 2


def test_no_image_at_all_is_undefined_and_no_error():
    scores = disease_scores(np.zeros((0, 2)), np.zeros((0, 2)), ["Mass", "Nodule"], 0.5)
    assert scores["per_finding"]["Mass"]["known"] == 0
    assert scores["micro"]["roc_auc"] is None


@pytest.mark.parametrize(
    ("truth", "probability", "message"),
    [
        ([[1.0, 0.0]], [[0.5]], r"truth must have shape \(images, 1 findings\), got \(1, 2\)"),
        ([[1.0]], [[0.5], [0.5]], "truth has 1 images, but probability has 2"),
        ([[2.0]], [[0.5]], "truth must hold 1"),
        ([[1.0]], [[NAN]], r"probability must lie in \[0, 1\]"),
        ([[1.0]], [[1.5]], r"probability must lie in \[0, 1\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(truth, probability, message):
    with pytest.raises(ValueError, match=message):
        disease_scores(np.array(truth), np.array(probability), ["Mass"], 0.5)
