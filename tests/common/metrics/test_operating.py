import numpy as np
import pytest

from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.metrics.calibration import CountedScores
from fedthorax.common.metrics.operating import (
    OperatingPoints,
    choose_operating_points,
    choose_threshold,
    fixed_operating_points,
)
from fedthorax.common.metrics.score_histogram import score_histogram

from ...heads import disease_scores

PRESENT = np.array([1.0, 0, 1, 1, 0, 0, 0, 0])
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
    assert choose_threshold(CountedScores.of_images(PRESENT, PROBABILITY), method, wanted) == pytest.approx(expected)


def test_f1_can_choose_another_threshold_than_youden():
    # One sure positive among many negatives, and one in their midst: F1 shuns the alarms that Youden accepts.
    present = np.array([1.0, *[0] * 8, 1, *[0] * 30])
    scores = CountedScores.of_images(present, np.linspace(0.9, 0.1, len(present)))
    f1, youden = (choose_threshold(scores, method, 0.9) for method in ("f1", "youden"))
    assert f1[0] > youden[0]
    assert (f1[1], youden[1]) == (0.5, 1.0)


def test_equal_probabilities_are_never_cut_apart():
    scores = CountedScores.of_images(np.array([1.0, 0, 0]), np.full(3, 0.4))
    value, sensitivity, specificity = choose_threshold(scores, "youden", 0.9)
    assert (value, sensitivity, specificity) == (0.2, 1.0, 0.0)


def validation(count=200, seed=4):
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 2)) < [0.3, 0.0]).astype(float)
    truth[:3, 1] = 1
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


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([0, 1, 0, 1, 0], ((0.8 + 0.7) / 2, 0.5, 2 / 3)),  # two are positive, so the two highest are called so
        ([0, 0, 0, 0, 0], ((1.0 + 0.9) / 2, None, 1.0)),  # none is, so the threshold stands above all
        ([1, 1, 1, 1, 1], (0.25, 1.0, None)),
    ],
)
def test_the_threshold_by_prevalence_calls_as_many_positive_as_are(present, expected):
    scores = CountedScores.of_images(np.array(present, float), np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
    assert choose_threshold(scores, "prevalence", 0.9) == pytest.approx(expected)


@pytest.mark.parametrize("present", [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
def test_a_probability_of_1_is_not_called_positive_either_where_as_few_are(present):
    probability = np.array([1, 1, 1, 1, 0.5], np.float32)
    value, sensitivity, specificity = choose_threshold(
        CountedScores.of_images(np.array(present, float), probability), "prevalence", 0.9
    )
    assert not (probability.astype(np.float64) >= value).any()
    assert not (probability >= value).any()
    assert (sensitivity, specificity) == (0.0 if any(present) else None, 1.0)


def test_a_finding_with_a_handful_of_positives_goes_by_their_number_and_says_why():
    hernia = chosen(threshold=0.35).disease["Hernia"]
    (truth, disease), _ = validation()
    assert (hernia.method, hernia.slope, hernia.intercept, hernia.source) == ("prevalence", 1.0, 0.0, "images")
    assert (disease[:, 1] >= hernia.threshold).sum() == pytest.approx(np.nansum(truth[:, 1]), abs=1)
    assert hernia.reasons == (
        "Fewer than 5 images with it, or without it: not calibrated.",
        "Fewer than 5 images with it, or without it: as many are called positive as are.",
    )


def test_a_finding_that_nobody_knows_keeps_the_fixed_threshold():
    nobody = (np.full((30, 1), np.nan), np.full((30, 1), 0.2))
    classes = (np.full(3, -1), np.full((3, 2), 0.5))
    points = choose_operating_points(nobody, classes, ("Mass",), ("a", "b"), EvaluationConfig(), "central", "valid")
    assert (points.disease["Mass"].method, points.disease["Mass"].source) == ("fixed", "none")
    assert points.disease["Mass"].reasons[-1] == "No label is known: threshold not chosen."


def together(bins=400):
    """What all images choose, and what a centre with the first 20 chooses that two hospitals tell of theirs."""
    (truth, disease), (classes, cancer) = validation()
    settings = EvaluationConfig()
    calibrated = chosen().calibrated_cancer(cancer)
    of_class = np.where(classes[:, None] < 0, np.nan, classes[:, None] == np.arange(2))
    told = {
        (task, name): {
            site: score_histogram(truths[rows, k], scores[rows, k], bins)
            for site, rows in {"north": slice(20, 90), "south": slice(90, 200)}.items()
        }
        for task, truths, scores, names in (
            ("disease", truth, disease, ("Mass", "Hernia")),
            ("cancer", of_class, calibrated, ("a", "b")),
        )
        for k, name in enumerate(names)
    }
    few = (truth[:20], disease[:20]), (classes[:20], cancer[:20])
    return chosen(), choose_operating_points(*few, ("Mass", "Hernia"), ("a", "b"), settings, "central", "valid", told)


def test_hospitals_histograms_choose_as_their_images_would():
    whole, found = together()
    for name in ("Mass", "Hernia"):
        one, other = whole.disease[name], found.disease[name]
        assert (other.positives, other.negatives, other.method) == (one.positives, one.negatives, one.method)
        assert (other.slope, other.intercept) == pytest.approx((one.slope, one.intercept), abs=0.05)
        assert other.threshold == pytest.approx(one.threshold, abs=0.01)
        assert other.hospitals == ("north", "south")
    assert (found.cancer["a"].positives, found.cancer["a"].hospitals) == (
        whole.cancer["a"].positives,
        ("north", "south"),
    )


def test_the_centre_alone_would_have_had_too_few():
    (truth, disease), (classes, cancer) = validation()
    alone = choose_operating_points(
        (truth[:20], disease[:20]), (classes[:20], cancer[:20]), ("Mass", "Hernia"), ("a", "b"), EvaluationConfig(),
        "central", "valid",
    )  # fmt: skip
    assert alone.disease["Mass"].method == "prevalence"
    assert alone.disease["Mass"].hospitals == ()


def test_a_hospital_with_too_few_keeps_the_common_threshold_and_calibration():
    (truth, disease), (classes, cancer) = validation()
    common = chosen()
    own = choose_operating_points(
        (truth[:20], disease[:20]), (classes[:8], cancer[:8]), ("Mass", "Hernia"), ("a", "b"), EvaluationConfig(),
        "north", "valid", common=common,
    )  # fmt: skip
    mass, of_all = own.disease["Mass"], common.disease["Mass"]
    assert (mass.threshold, mass.slope, mass.intercept) == (of_all.threshold, of_all.slope, of_all.intercept)
    assert (mass.source, mass.positives, mass.sensitivity) == ("common", None, None)
    assert mass.reasons == ("Fewer than 10 images with it, or without it: the common threshold and calibration.",)
    assert own.cancer_temperature == common.cancer_temperature


def test_where_the_threshold_of_a_class_is_the_common_one_so_is_the_calibration_that_it_is_for():
    (truth, disease), (classes, cancer) = validation()
    rows = np.r_[np.flatnonzero(classes == 0)[:40], np.flatnonzero(classes == 1)[:9]]  # of "b" too few
    common = chosen().model_copy(update={"cancer_temperature": 2.0})

    def own(rows, **more):
        return choose_operating_points(
            (truth, disease), (classes[rows], cancer[rows]), ("Mass", "Hernia"), ("a", "b"), EvaluationConfig(),
            "north", "valid", common=common, **more,
        )  # fmt: skip

    few = own(rows)
    assert few.cancer["b"].threshold == common.cancer["b"].threshold
    assert few.cancer_temperature == 2.0
    assert few.reasons == ("Fewer than 10 of a class, or of the others: the common calibration of all.",)
    assert own(np.arange(len(classes))).cancer_temperature == pytest.approx(chosen().cancer_temperature)
    # Slices enough, but of nine patients of a class: theirs is the threshold for examinations.
    patients = [f"p{row % 9}" if classes[row] else f"q{row}" for row in range(len(classes))]
    by_patient = own(np.arange(150), people=(patients[:150], ()))
    assert {label.source for label in by_patient.cancer.values()} == {"images"}
    assert by_patient.cancer_temperature == 2.0


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
