import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from sklearn.linear_model import LogisticRegression

from fedthorax.common.metrics.calibration import (
    class_scaled,
    fit_class_temperature,
    fit_platt,
    fit_temperature,
    scaled,
)


def overconfident(count=4000, seed=1):
    """True probabilities, labels drawn from them, and a model whose logits are doubled and shifted."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1.5, count)
    return rng.random(count) < expit(logits), expit(2 * logits + 1)


def test_platt_scaling_finds_the_slope_and_intercept_that_undo_the_distortion():
    present, probability = overconfident()
    slope, intercept = fit_platt(probability, present * 1.0, ~present * 1.0)
    assert slope == pytest.approx(0.5, abs=0.04)
    assert intercept == pytest.approx(-0.5, abs=0.08)


def test_platt_scaling_is_a_logistic_regression_on_the_logit():
    present, probability = overconfident()
    regression = LogisticRegression(C=np.inf).fit(logit(probability)[:, None], present)
    assert fit_platt(probability, present * 1.0, ~present * 1.0) == pytest.approx(
        (regression.coef_[0, 0], regression.intercept_[0]), abs=2e-3
    )


def test_platt_scaling_stays_finite_where_a_threshold_separates_all_images():
    slope, intercept = fit_platt(np.array([0.9, 0.2]), np.array([12.0, 0.0]), np.array([0.0, 12.0]))
    assert 0 < slope < 5
    assert abs(intercept) < 5


def test_a_temperature_softens_overconfident_findings_and_classes():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 1.5, 4000)
    present = (rng.random(4000) < expit(logits)) * 1.0
    assert fit_temperature(expit(3 * logits), present, 1 - present) == pytest.approx(3, rel=0.08)
    class_logits = rng.normal(0, 1.5, (4000, 3))
    truth = np.array([rng.choice(3, p=row) for row in softmax(class_logits, axis=1)])
    assert fit_class_temperature(truth, softmax(3 * class_logits, axis=1)) == pytest.approx(3, rel=0.08)


def test_scaling_leaves_the_ranking_and_the_most_probable_class():
    _, probability = overconfident(200)
    assert (np.argsort(scaled(probability, 0.4, -1.0)) == np.argsort(probability)).all()
    classes = np.random.default_rng(3).dirichlet([1, 1, 1], 50)
    softened = class_scaled(classes, 4.0)
    assert (softened.argmax(axis=1) == classes.argmax(axis=1)).all()
    assert softened.sum(axis=1) == pytest.approx(1)
    assert softened.max() < classes.max()


def test_no_scaling_gives_the_very_same_numbers_and_certainty_stays_finite():
    probability = np.array([0.0, 0.25, 1.0])
    assert (scaled(probability, 1.0, 0.0) == probability).all()
    assert np.isfinite(scaled(probability, 0.5, 0.1)).all()
    assert (class_scaled(np.array([[0.0, 1.0]]), 1.0) == [[0.0, 1.0]]).all()
