"""The arithmetic of the attacks, with numbers that can be checked by hand."""

import numpy as np
import pytest
from scipy.special import logit

from fedthorax.common.leakage.membership import all_scores, lira_scores, loss_scores, rmia_scores


def test_the_loss_is_a_mean_over_known_labels():
    scores = loss_scores(np.array([[0.0, np.nan], [logit(0.5), logit(0.25)]]))
    assert scores == pytest.approx([np.log(0.5), (np.log(0.5) + np.log(0.25)) / 2])
    assert np.isnan(loss_scores(np.array([[np.nan, np.nan]]))).all()


def test_rmia_compares_with_the_mean_of_models_with_and_without_the_patient():
    """The first patient's probability is 0.8 against (0.6 + 0.2) / 2, twice as high; the second's falls by half, the
    third's stays."""
    references = logit(np.array([[[0.6], [0.2], [0.5]], [[0.2], [0.6], [0.5]]]))
    members = np.array([[True, True, False], [False, False, True]])
    target = logit(np.array([[0.8], [0.2], [0.5]]))
    assert rmia_scores(target, references, members) == pytest.approx([1, 1 / 3, 2 / 3])


def test_rmia_takes_each_side_as_a_whole_however_many_models_it_has():
    """0.3 with and 0.5 without the patient: 0.4, whether one model or two saw him. The other is at 0.4 too."""
    references = logit(np.array([[[0.3], [0.4]], [[0.5], [0.4]], [[0.5], [0.4]]]))
    members = np.array([[True, True], [False, False], [False, False]])
    scores = rmia_scores(logit(np.array([[0.41], [0.405]])), references, members)
    assert scores == pytest.approx([1, 0.5])


def test_rmia_makes_do_with_one_side_where_no_model_is_on_the_other():
    references, members = logit(np.array([[[0.4], [0.5]]])), np.array([[True, False]])
    assert rmia_scores(logit(np.array([[0.8], [0.4]])), references, members) == pytest.approx([1, 0.5])


def test_lira_is_a_ratio_of_normal_densities():
    """With the patient 2 ± 1.41, without 0 ± 1.41: at a margin of 2 the densities are as 1 to exp(-1)."""
    references = np.array([[[1.0]], [[3.0]], [[-1.0]], [[1.0]]])
    members = np.array([[True], [True], [False], [False]])
    assert lira_scores(np.array([[2.0]]), references, members) == pytest.approx([1.0])
    assert lira_scores(np.array([[0.0]]), references, members) == pytest.approx([-1.0])
    assert lira_scores(np.array([[1.0]]), references, members) == pytest.approx([0.0])


def test_lira_adds_labels_up_and_leaves_unknown_ones_out():
    references = np.array([[[1.0, 1.0]], [[3.0, 3.0]], [[-1.0, -1.0]], [[1.0, 1.0]]])
    members = np.array([[True], [True], [False], [False]])
    assert lira_scores(np.array([[2.0, 2.0]]), references, members) == pytest.approx([2.0])
    assert lira_scores(np.array([[2.0, np.nan]]), references, members) == pytest.approx([1.0])


def test_rmia_takes_four_reference_runs_and_lira_sixteen():
    random = np.random.default_rng(0)
    references, members = random.normal(size=(18, 6, 2)), random.random((18, 6)) < 0.5
    target = random.normal(size=(6, 2))
    scores = all_scores(target, references, members)
    assert np.array_equal(scores["rmia"], rmia_scores(target, references[:4], members[:4]))
    assert np.array_equal(scores["lira"], lira_scores(target, references[:16], members[:16]))
    assert np.array_equal(scores["loss"], loss_scores(target))
