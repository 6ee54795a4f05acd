"""Weighted differences as words, and back."""

import numpy as np
import pytest

from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.masking.masks import add_mask, sign_of
from fedthorax.common.masking.words import Domain, Group, sums_of, words_of

SITES = ("a", "b", "c")
PART = Part("ct", slice(0, 3), "ct")
BEFORE = {"ct": np.array([1.0, -2.0, 100.0], np.float32)}


def domain(wide=()):
    group = Group(members=SITES, behind=SITES)
    return Domain(group, (PART,), {"ct": 3}, {"ct": np.array(wide, np.int64)})


def value(found):
    return [int(high) * 2**32 + int(low) for high, low in zip(found.high, found.low, strict=True)]


@pytest.mark.parametrize("wide", [(), (2,), (0, 1, 2)])
def test_the_sum_is_that_of_the_weighted_values(wide):
    updates = [np.array([1.5, -2.25, 101.0], np.float32), np.array([0.5, -1.0, 90.0], np.float32)]
    words = [
        words_of(domain(wide), {"ct": each}, BEFORE, [weight], 3) for each, weight in zip(updates, (2, 3), strict=True)
    ]
    (found,) = sums_of(domain(wide), words[0] + words[1], BEFORE)
    assert found.weight == 5
    assert value(found) == [int(total * 2**40) for total in (4.5, -7.5, 472.0)]


def test_a_value_that_moved_too_far_to_be_summed_is_refused_unless_it_may_take_two_words():
    far = {"ct": np.array([1.0, -2.0, 4e6], np.float32)}
    with pytest.raises(ValueError, match="has moved too far to be summed under masks"):
        words_of(domain(), far, BEFORE, [1000], 3)
    (found,) = sums_of(domain((2,)), words_of(domain((2,)), far, BEFORE, [1000], 3), BEFORE)
    assert value(found)[2] == 4_000_000_000 * 2**40


@pytest.mark.parametrize("wide", [(), (1,)])
def test_differences_that_are_known_are_summed_exactly_whatever_the_update_was_rounded_to(wide):
    known = [{"ct": np.array([1, -5, 7], np.int64)}, {"ct": np.array([2, 3, -1 << 40], np.int64)}]
    words = [words_of(domain(wide), BEFORE, BEFORE, [1], 3, steps) for steps in known]
    (found,) = sums_of(domain(wide), words[0] + words[1], BEFORE)
    start = [2 * int(each) * 2**40 for each in BEFORE["ct"]]
    assert value(found) == [first + more for first, more in zip(start, (3, -2, 7 - 2**40), strict=True)]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -1e30])
def test_what_is_not_finite_leaves_no_hospital(odd):
    with pytest.raises(ValueError, match="not finite, or too large"):
        words_of(domain(), {"ct": np.array([1.0, odd, 0.0], np.float32)}, BEFORE, [1], 3)


def test_two_hospitals_masks_cancel():
    words = np.arange(300_000, dtype=np.uint64)
    total = words.copy()
    for site, other in (("a", "b"), ("b", "a")):
        add_mask(total, b"k" * 32, sign_of(site, other))
    assert np.array_equal(total, words)
    add_mask(total, b"k" * 32, 1)
    assert np.unique(total).size == total.size
    assert abs(np.mean(total > 2**63) - 0.5) < 0.01
