import numpy as np
import pytest
from scipy import stats

from fedthorax.common.privacy.noise import chosen, key_of, rounded_gaussian

KEY = key_of(b"secret", "noise", ["run", 1])


@pytest.mark.parametrize("deviation", [0.7, 40.0, 1e6])
def test_the_noise_has_the_distribution_of_a_rounded_gaussian(deviation):
    drawn = rounded_gaussian(KEY, deviation, 100_000)
    edges = np.unique(np.rint(np.linspace(-2.5, 2.5, 21) * deviation)) + 0.5
    expected = np.diff([0, *stats.norm.cdf(edges / deviation), 1]) * drawn.size
    counted = np.bincount(np.searchsorted(edges, drawn), minlength=edges.size + 1)
    assert stats.chisquare(counted, expected).pvalue > 0.001


def test_the_tail_is_as_heavy_as_it_has_to_be():
    drawn = np.abs(rounded_gaussian(KEY, 1000.0, 2_000_000))
    assert (drawn > 4000).mean() == pytest.approx(2 * stats.norm.sf(4.0005), rel=0.3)


def test_another_value_or_context_has_other_noise_and_the_same_has_the_same():
    same = rounded_gaussian(key_of(b"secret", "noise", ["run", 1], b"1"), 1e4, 50)
    assert np.array_equal(same, rounded_gaussian(key_of(b"secret", "noise", ["run", 1], b"1"), 1e4, 50))
    for key in (
        key_of(b"another", "noise", ["run", 1], b"1"),
        key_of(b"secret", "who", ["run", 1], b"1"),
        key_of(b"secret", "noise", ["run", 2], b"1"),
        key_of(b"secret", "noise", ["run", 1], b"2"),
    ):
        assert (same != rounded_gaussian(key, 1e4, 50)).mean() > 0.9


def test_each_patient_is_drawn_by_himself_with_the_rate():
    draws = np.array([chosen(key_of(b"secret", "who", [number]), 200, 0.3) for number in range(500)])
    sizes = draws.sum(axis=1)
    assert draws.mean() == pytest.approx(0.3, abs=0.005)
    assert sizes.var() == pytest.approx(200 * 0.3 * 0.7, rel=0.2)  # of batches of one size it would be 0
    assert chosen(KEY, 5, 1.0).all()
