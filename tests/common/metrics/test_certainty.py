import numpy as np
import pytest

from fedthorax.common.metrics.resampling import area_variance, certain_mean, positives_needed


def test_the_variance_is_that_of_hanley_and_mcneil():
    # A = 0.8, Q1 = 0.8 / 1.2, Q2 = 1.28 / 1.8: (0.16 + 1 * (Q1 - 0.64) + 2 * (Q2 - 0.64)) / 6
    assert area_variance(2, 3, 0.8) == pytest.approx((0.16 + (2 / 3 - 0.64) + 2 * (1.28 / 1.8 - 0.64)) / 6)


def test_the_variance_is_about_the_spread_of_drawn_areas():
    random, positives, negatives = np.random.default_rng(0), 10, 200
    shift = np.sqrt(2) * 0.5244  # two normal distributions so far apart have an area of 0.7
    areas = [np.mean(random.normal(shift, 1, positives)[:, None] > random.normal(0, 1, negatives)) for _ in range(2000)]
    assert np.std(areas) == pytest.approx(area_variance(positives, negatives) ** 0.5, rel=0.15)


def test_so_many_positives_are_needed_for_a_standard_error():
    needed = positives_needed(0.05)
    assert area_variance(needed, 10**9) <= 0.05**2 < area_variance(needed - 1, 10**9)


def test_one_positive_hardly_moves_the_mean():
    common, rare = (0.7, 100, 900), (1.0, 1, 999)
    assert certain_mean([common, rare]) == pytest.approx(0.7, abs=0.01)
    assert certain_mean([(0.6, 50, 50), (0.8, 50, 50)]) == pytest.approx(0.7)


def test_an_undefined_area_counts_for_nothing_and_none_at_all_is_undefined():
    assert certain_mean([(None, 0, 10), (0.6, 5, 5)]) == pytest.approx(0.6)
    assert certain_mean([(None, 0, 10)]) is None
