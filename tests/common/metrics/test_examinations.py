"""Slices of one patient answer together; hand-sized numbers."""

import numpy as np
import pytest

from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.metrics.examinations import combined, examination_scores, examinations_of
from fedthorax.common.metrics.operating import choose_operating_points
from fedthorax.common.metrics.score_histogram import score_histogram

CLASSES = ("normal", "tumour")
# Anna has three slices of class 1, Ben two of class 0, Cleo one, Dora one of each class, Emil two of unknown class.
PATIENTS = ("anna", "anna", "anna", "ben", "ben", "cleo", "dora", "dora", "emil", "emil")
TRUTH = np.array([1, 1, -1, 0, 0, 1, 0, 1, -1, -1])
TUMOUR = np.array([0.9, 0.1, 0.8, 0.3, 0.1, 0.6, 0.5, 0.7, 0.2, 0.4])
PROBABILITY = np.stack([1 - TUMOUR, TUMOUR], axis=1)


def test_an_examination_is_the_mean_of_its_slices_and_has_the_class_that_they_share():
    found = examinations_of(TRUTH, PROBABILITY, PATIENTS, (), "mean")
    assert found.patients == ("anna", "ben", "cleo", "dora", "emil")
    assert found.probability[:, 1] == pytest.approx([0.6, 0.2, 0.6, 0.6, 0.3])
    assert found.truth.tolist() == [1, 0, 1, -1, -1]
    assert found.mixed == 1


def test_the_slice_that_says_it_most_can_speak_for_its_class():
    assert combined(PROBABILITY[:3], "highest") == pytest.approx([0.9 / 1.8, 0.9 / 1.8])
    assert combined(PROBABILITY[3:5], "highest") == pytest.approx([0.9 / 1.2, 0.3 / 1.2])


def test_figures_are_of_patients_and_intervals_draw_patients():
    scores = examination_scores(examinations_of(TRUTH, PROBABILITY, PATIENTS, (), "mean"), CLASSES, "mean", 50, 1)
    assert (scores["cancer"]["known"], scores["cancer"]["accuracy"], scores["mixed"]) == (3, 1.0, 1)
    assert scores["cancer"]["confusion_matrix"] == [[1, 0], [0, 2]]
    assert scores["intervals"]["cancer"]["patients"] == 5
    assert scores["reason"] is None


@pytest.mark.parametrize(
    ("patients", "named"),
    [
        (tuple("abcdefghij"), ()),  # one slice each
        (PATIENTS, (False,) * 10),  # names of files, not of people
        (PATIENTS, (True, False, False, True, False, True, True, False, True, False)),
    ],
)
def test_where_no_patient_is_known_to_have_several_slices_nothing_is_claimed(patients, named):
    assert examinations_of(TRUTH, PROBABILITY, patients, named, "mean") is None
    scores = examination_scores(None, CLASSES, "mean", 50, 1)
    assert scores["cancer"] is scores["intervals"] is scores["mixed"] is None
    assert scores["reason"] == "No patient is known to have several slices."


def test_a_slice_that_was_not_scored_and_one_of_nobody_are_left_out():
    probability = PROBABILITY.copy()
    probability[1] = np.nan
    named = (True,) * 9 + (False,)
    found = examinations_of(TRUTH, probability, PATIENTS, named, "mean")
    assert found.probability[[0, -1], 1] == pytest.approx([0.85, 0.2])


def points_of(told=None, people=((), ())):
    """Forty patients with two slices each at the centre, half of them of class 1 and clearly so."""
    truth = np.repeat(np.arange(40) % 2, 2)
    tumour = 0.3 + 0.4 * truth + np.tile([-0.25, 0.25], 40)  # slices overlap, their means do not
    nobody = np.zeros((0, 1))
    return choose_operating_points(
        (nobody, nobody), (truth, np.stack([1 - tumour, tumour], axis=1)), ("Mass",), CLASSES,
        EvaluationConfig(calibration="none"), "central", "valid", told, people=people,
    )  # fmt: skip


def test_a_class_has_a_threshold_for_examinations_too():
    points = points_of(people=(tuple(str(n // 2) for n in range(80)), ()))
    of_slices, of_patients = points.cancer["tumour"], points.examination["tumour"]
    assert (of_slices.positives, of_patients.positives) == (40, 20)
    assert (of_patients.threshold, of_patients.sensitivity, of_patients.specificity) == pytest.approx((0.5, 1.0, 1.0))
    assert of_slices.sensitivity + of_slices.specificity < 1.6
    assert points_of().examination == {}


def test_hospitals_alone_can_choose_the_threshold_of_examinations():
    probability = np.concatenate([np.full(9, 0.2), np.full(8, 0.8)])
    histogram = score_histogram((probability > 0.5).astype(float), probability, 100)
    chosen = points_of({("examination", "tumour"): {"north": histogram}}).examination
    assert chosen["tumour"].threshold == pytest.approx(0.5, abs=0.01)
    assert (chosen["tumour"].hospitals, chosen["tumour"].positives) == (("north",), 8)
    assert chosen["normal"].method == "fixed"
