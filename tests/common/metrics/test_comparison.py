import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from fedthorax.common.metrics.delong import delong_difference, holm

from ...heads import compare_cancer, compare_disease

FINDINGS = ("Mass", "Nodule", "Hernia")


def two_models(count=400, seed=3):
    """The first sees Mass, the second guesses; both see Nodule alike; Hernia is rare."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 3)) < [0.4, 0.3, 0.01]).astype(float)
    truth[:3, 2] = 1
    noise = rng.normal(size=(count, 3))
    first = 1 / (1 + np.exp(-(1.5 * truth + noise)))
    second = first.copy()
    second[:, 0] = rng.random(count)
    second[:, 1] = np.clip(first[:, 1] + rng.normal(0, 0.02, count), 0, 1)
    return truth, first, second, [f"p{row // 2}" for row in range(count)]


def test_rows_hold_the_tests_of_each_finding_and_are_corrected_together():
    truth, first, second, patients = two_models()
    result = compare_disease(truth, first, second, patients, FINDINGS, 200, seed=1)
    mass, nodule, hernia = result["rows"]
    tested = delong_difference(truth[:, 0] == 1, first[:, 0], second[:, 0], patients)
    assert mass["first"] == pytest.approx(roc_auc_score(truth[:, 0], first[:, 0]))
    assert (mass["interval"], mass["p_value"]) == (list(tested.interval), tested.p_value)
    assert mass["p_holm"] == 2 * mass["p_value"] < 0.01  # two findings were tested, this one is the clearer
    assert nodule["p_holm"] == holm({"a": mass["p_value"], "b": nodule["p_value"]})["b"] > 0.05
    assert hernia["descriptive"]
    assert (hernia["p_value"], hernia["p_holm"]) == (None, None)
    assert hernia["reason"].startswith("Fewer than ten")
    assert hernia["difference"] == 0.0


def test_the_mean_runs_over_the_findings_that_are_not_descriptive():
    truth, first, second, patients = two_models()
    mean = compare_disease(truth, first, second, patients, FINDINGS, 200, seed=1)["mean"]
    assert mean["names"] == ["Mass", "Nodule"]
    expected = np.mean([roc_auc_score(truth[:, f], first[:, f]) for f in (0, 1)])
    assert mean["first"] == pytest.approx(expected)
    low, high = mean["difference"]["interval"]
    assert 0 < low < mean["difference"]["value"] < high
    rare = compare_disease(truth[:, 2:], first[:, 2:], second[:, 2:], patients, FINDINGS[2:], 20, seed=1)
    assert rare["mean"] is None


def test_unknown_labels_and_missing_classes_have_a_reason():
    result = compare_disease(
        np.array([[np.nan, 1.0]]), np.array([[0.1, 0.2]]), np.array([[0.1, 0.2]]), ["a"], FINDINGS[:2], 5, 0
    )
    assert [row["reason"] for row in result["rows"]] == [
        "No label is known.",
        "Only one of present and absent occurs.",
    ]


def test_ct_models_are_compared_by_class_and_by_accuracy():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 240)
    truth[:5] = -1
    first = rng.dirichlet([1, 1, 1], 240)
    second = 0.5 * first + 0.5 * np.eye(3)[np.maximum(truth, 0)]
    result = compare_cancer(truth, first, second, [str(row) for row in range(240)], ("a", "b", "c"), 200, seed=1)
    known = truth >= 0
    assert result["accuracy"]["first"] == pytest.approx(accuracy_score(truth[known], first[known].argmax(axis=1)))
    assert result["accuracy"]["difference"]["interval"][1] < 0
    assert result["mean"]["names"] == ["a", "b", "c"]
    assert all(row["p_holm"] < 0.05 and row["difference"] < 0 for row in result["rows"])
