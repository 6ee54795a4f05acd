"""Shares, areas, controls, groups: hand-sized."""

import numpy as np
import pytest

from fedthorax.common.leakage import figures
from fedthorax.common.leakage.figures import accuracy_of, hospital_guesses


def test_shares_have_exact_intervals():
    """The exact interval of 0 of 10 ends where (1 - p)^10 is 0.025."""
    none = figures.share(0, 10)
    assert none.interval == pytest.approx((0, 1 - 0.025**0.1))
    assert figures.share(10, 10).interval == pytest.approx((0.025**0.1, 1))
    assert figures.share(0, 0).value is None


@pytest.mark.parametrize(("others", "above"), [(99, 99), (100, 99), (200, 198), (250, 248)])
def test_at_one_false_one_in_a_hundred_the_threshold_lets_so_many_pass(others, above):
    """Of others who score 1, 2, 3 …"""
    scores = np.concatenate([np.arange(1, others + 1), [others + 0.5]])
    members = np.arange(others + 1) == others
    assert figures.threshold(scores, members) == above
    assert (scores[~members] > above).sum() == int(0.01 * others)


def test_an_area_counts_pairs_and_ties_half():
    told = figures.area(np.array([2.0, 3, 1, 2, np.nan]), np.array([True, True, False, False, True]), 1)
    assert told.value == pytest.approx(3.5 / 4)
    assert told.interval[0] <= told.value <= told.interval[1]
    assert figures.area(np.array([1.0, 2]), np.array([True, True]), 1).value is None


def test_shuffled_membership_gives_a_half_whatever_the_scores():
    scores, members = np.arange(100.0), np.arange(100) >= 50
    assert figures.area(scores, members, 1).value == 1
    null = figures.null(scores, members, 1)
    assert null.value == pytest.approx(0.5, abs=0.01)
    assert 0.36 < null.interval[0] < 0.42
    assert 0.58 < null.interval[1] < 0.64


def test_the_group_of_whom_most_are_found_stands_first_and_small_ones_are_left_out():
    """Ten members each among the first and second twenty; the first ones score above everybody else."""
    scores = np.concatenate([np.full(10, 9.0), np.zeros(10), np.full(10, 1.0), np.full(10, 2.0)])
    members = np.tile(np.repeat([True, False], 10), 2)
    first = np.arange(40) < 20
    told = figures.groups(scores, members, {"low": ~first, "high": first, "few": np.arange(40) < 12}, 1)
    assert [(group.name, group.found.hits, group.area.value) for group in told] == [("high", 10, 1.0), ("low", 0, 0.0)]
    assert (told[0].members, told[0].others) == (10, 10)


def test_patients_are_counted_by_how_often_the_right_run_scores_higher():
    """Two runs with and two without each: always right, never, a half, three of four."""
    members = np.array([[True] * 4, [True] * 4, [False] * 4, [False] * 4])
    scores = np.array([[3.0, 0, 1, 3], [4, 0, 1, 1], [1, 2, 1, 2], [2, 1, 1, 0]])
    told = figures.patients(scores, members)
    assert told.bins == (1, 1, 1, 0, 1)
    assert (told.patients, told.median) == (4, pytest.approx(0.625))
    assert (told.almost_surely.hits, told.almost_surely.of) == (1, 4)


def test_a_run_is_attacked_with_pairs_that_share_the_patients_out_and_its_own_partner_last():
    assert figures.others_of(0, 6) == [2, 3, 4, 5, 1]
    assert figures.others_of(3, 6) == [0, 1, 4, 5, 2]
    assert figures.others_of(4, 5) == [0, 1, 2, 3]


def test_the_nearest_hospital_is_found_without_the_patient_himself():
    """Alone he would be nearest to himself: with two patients far apart each, nobody is put right."""
    assert accuracy_of(np.array([[0.0], [10], [0], [10]]), np.array([0, 0, 1, 1])) == 0
    assert accuracy_of(np.array([[0.0], [1], [10], [11]]), np.array([0, 0, 1, 1])) == 1


def test_hospitals_that_answer_differently_are_told_apart_label_by_label():
    random = np.random.default_rng(0)
    whose = np.repeat(["north", "south", "tiny"], [20, 20, 3]).tolist()
    answers = random.normal(size=(43, 2))
    mass = np.ones(43, bool)
    (none,) = hospital_guesses(answers, whose, {"Mass": mass, "Rare": np.arange(43) < 9}, 1)
    assert (none.label, none.patients) == ("Mass", 40)
    assert none.shuffled[0] <= none.accuracy <= none.shuffled[1]
    assert none.p > 0.05
    answers[:20] += 3
    (told,) = hospital_guesses(answers, whose, {"Mass": mass}, 1)
    assert told.accuracy > 0.9 > told.shuffled[1]
    assert told.p == pytest.approx(1 / 201)
