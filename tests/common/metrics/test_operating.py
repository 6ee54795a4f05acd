import numpy as np
import pytest

from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.metrics.disease import disease_scores
from fedthorax.common.metrics.operating import (
    OperatingPoints,
    choose_operating_points,
    choose_threshold,
    fixed_operating_points,
)

PRESENT = np.array([True, False, True, True, False, False, False, False])
PROBABILITY = np.array([0.9, 0.8, 0.6, 0.3, 0.25, 0.2, 0.1, 0.1])


@pytest.mark.parametrize(
    ("method", "wanted", "expected"),
    [
        # Cuts below 0.9, 0.8, 0.6, 0.3, … find 1, 1, 2, 3 of 3 and alarm in 0, 1, 1, 1 of 5.
        ("youden", 0.9, ((0.3 + 0.25) / 2, 1.0, 0.8)),
        ("f1", 0.9, ((0.3 + 0.25) / 2, 1.0, 0.8)),
        ("sensitivity", 0.5, ((0.6 + 0.3) / 2, 2 / 3, 0.8)),
        ("sensitivity", 0.3, ((0.9 + 0.8) / 2, 1 / 3, 1.0)),
        ("sensitivity", 1.0, ((0.3 + 0.25) / 2, 1.0, 0.8)),
    ],
)
def test_thresholds_are_those_that_a_hand_finds(method, wanted, expected):
    assert choose_threshold(PRESENT, PROBABILITY, method, wanted) == pytest.approx(expected)


def test_f1_can_choose_another_threshold_than_youden():
    # One sure positive among many negatives, and one in their midst: F1 shuns the alarms that Youden accepts.
    present = np.array([True, *[False] * 8, True, *[False] * 30])
    probability = np.linspace(0.9, 0.1, len(present))
    f1, youden = (choose_threshold(present, probability, method, 0.9) for method in ("f1", "youden"))
    assert f1[0] > youden[0]
    assert (f1[1], youden[1]) == (0.5, 1.0)


def test_equal_probabilities_are_never_cut_apart():
    value, sensitivity, specificity = choose_threshold(np.array([True, False, False]), np.full(3, 0.4), "youden", 0.9)
    assert (value, sensitivity, specificity) == (0.2, 1.0, 0.0)


def validation(count=200, seed=4):
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 2)) < [0.3, 0.02]).astype(float)
    truth[:2, 1] = 1
    truth[5] = np.nan
    disease = np.clip(0.15 * np.nan_to_num(truth) + 0.3 * rng.random((count, 2)), 0, 1)
    classes = rng.integers(-1, 2, count)
    cancer = np.clip(0.6 * np.eye(2)[np.maximum(classes, 0)] + 0.4 * rng.dirichlet([1, 1], count), 0, 1)
    return (truth, disease), (classes, cancer)


def chosen(**settings):
    disease, cancer = validation()
    return choose_operating_points(
        disease, cancer, ("Mass", "Hernia"), ("a", "b"), EvaluationConfig(**settings), "central", "valid"
    )


def test_the_thresholds_hold_for_calibrated_probabilities():
    points = chosen()
    (truth, disease), _ = validation()
    calibrated = points.calibrated_disease(disease)
    scores = disease_scores(truth, calibrated, ("Mass", "Hernia"), points.disease_thresholds)
    mass = points.disease["Mass"]
    assert mass.method == "youden"
    assert scores["per_finding"]["Mass"]["recall"] == pytest.approx(mass.sensitivity)
    assert scores["per_finding"]["Mass"]["specificity"] == pytest.approx(mass.specificity)
    assert mass.sensitivity > 0.6


def test_a_finding_with_a_handful_of_positives_is_left_as_it_is_and_says_why():
    hernia = chosen(threshold=0.35).disease["Hernia"]
    assert (hernia.threshold, hernia.method, hernia.slope, hernia.intercept) == (0.35, "fixed", 1.0, 0.0)
    assert len(hernia.reasons) == 2
    assert hernia.reasons[0] == "Fewer than 10 images with it, or without it: not calibrated."
    assert hernia.reasons[0].endswith("not calibrated.")


def test_a_stated_sensitivity_is_reached_on_the_images_that_choose():
    points = chosen(operating_point="sensitivity", sensitivity=0.95)
    assert points.disease["Mass"].sensitivity >= 0.95
    assert all(label.sensitivity >= 0.95 for label in points.cancer.values())


def test_calibration_can_be_switched_off_and_thresholds_fixed():
    points = chosen(calibration="none", operating_point="fixed", threshold=0.4)
    (_, disease), (_, cancer) = validation()
    assert (points.calibrated_disease(disease) == disease).all()
    assert (points.calibrated_cancer(cancer) == cancer).all()
    assert points.disease_thresholds == [0.4, 0.4]
    assert points.reasons == ("Calibration is switched off.",)


def test_a_model_that_ranks_the_wrong_way_round_is_not_turned_around():
    truth = np.repeat([[1.0], [0.0]], 30, axis=0)
    points = choose_operating_points(
        (truth, np.linspace(0.1, 0.9, 60)[:, None]),
        (np.full(3, -1), np.full((3, 2), 0.5)),
        ("Mass",),
        ("a", "b"),
        EvaluationConfig(),
        "central",
        "valid",
    )
    assert points.disease["Mass"].slope == 1.0
    assert points.disease["Mass"].reasons == ("Ranks these images no better than chance: not calibrated.",)
    assert points.reasons == ("Fewer than 10 slices of known class: not calibrated.",)
    assert points.cancer["a"].method == "fixed"


def test_temperature_scaling_of_findings_has_no_intercept():
    mass = chosen(calibration="temperature").disease["Mass"]
    assert mass.intercept == 0
    assert mass.slope != 1


def test_operating_points_survive_json():
    points = chosen()
    assert OperatingPoints.model_validate_json(points.model_dump_json()) == points
    fixed = fixed_operating_points(("Mass",), ("a", "b"), 0.5, "None were chosen.")
    assert OperatingPoints.model_validate_json(fixed.model_dump_json()) == fixed
