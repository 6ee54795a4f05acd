import math

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from fedthorax.common.metrics.reliability import roc_points

from ...heads import cancer_curves, disease_curves


def test_a_perfect_score_goes_up_and_then_right():
    curve = roc_points(np.array([True, True, False]), np.array([0.9, 0.8, 0.1]))
    assert (curve["fpr"][0], curve["tpr"][0]) == (0, 0)
    assert (0, 1) in zip(curve["fpr"], curve["tpr"], strict=True)
    assert (curve["fpr"][-1], curve["tpr"][-1]) == (1, 1)


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_its_area():
    rng = np.random.default_rng(0)
    present = rng.random(5000) < 0.3
    score = rng.normal(present, 1.0)
    curve = roc_points(present, score, limit=100)
    assert 80 <= len(curve["fpr"]) <= 100
    assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1)
    assert auc(curve["fpr"], curve["tpr"]) == pytest.approx(roc_auc_score(present, score), abs=2e-3)


def test_a_curve_needs_both_classes_and_leaves_unknown_labels_out():
    truth = np.array([[1, 0], [0, 0], [math.nan, 0]])
    probability = np.array([[0.2, 0.1], [0.4, 0.2], [0.9, 0.3]])
    curves = disease_curves(truth, probability, ["Mass", "Hernia"])
    assert curves["Hernia"] is None
    assert curves["Mass"] == {"fpr": [0.0, 1.0, 1.0], "tpr": [0.0, 0.0, 1.0]}


def test_a_class_is_drawn_against_all_others():
    curves = cancer_curves(np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), ["a", "b"])
    assert curves["a"] == curves["b"] == {"fpr": [0.0, 0.0, 1.0], "tpr": [0.0, 1.0, 1.0]}


def test_a_limit_below_two_points_is_refused():
    with pytest.raises(ValueError, match="limit must be 2 or more, got 1"):
        roc_points(np.array([True, False]), np.array([0.1, 0.2]), limit=1)
