import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from fedthorax.common.disclosure.distance import classes_distance, findings_distance, jensen_shannon_distance
from fedthorax.common.messages.statistics import Table


def test_a_share_next_to_nothing_is_told_from_none_without_a_warning():
    assert jensen_shannon_distance([1, 5e-324], [1, 0]) == 0


def test_equal_distributions_are_at_0_and_disjoint_ones_at_1():
    assert jensen_shannon_distance([2, 6], [1, 3]) == 0
    assert jensen_shannon_distance([1, 0], [0, 5]) == 1


def test_a_hand_sized_distance():
    # middle (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2 = 0.3113
    assert jensen_shannon_distance([1, 0], [1, 1]) == pytest.approx(np.sqrt(0.311278), abs=1e-6)


frequencies = st.lists(st.floats(0, 1e6), min_size=4, max_size=4).filter(lambda values: sum(values) > 1e-3)


@given(frequencies, frequencies)
def test_it_agrees_with_scipy_and_is_symmetric(one, other):
    distance = jensen_shannon_distance(one, other)
    assert distance == pytest.approx(jensenshannon(one, other, base=2), abs=1e-6)
    assert distance == pytest.approx(jensen_shannon_distance(other, one))


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ([1, 2], [1, 2, 3], r"got shapes \(2,\) and \(3,\)"),
        ([0, 0], [1, 2], "whose sum is positive"),
        ([-1, 2], [1, 2], "at least 0"),
    ],
)
def test_frequencies_that_make_no_distribution_are_refused(one, other, words):
    with pytest.raises(ValueError, match=words):
        jensen_shannon_distance(one, other)


def labels(present, absent, unknown=0) -> Table:
    return Table(cells={"present": present, "absent": absent, "unknown": unknown})


def test_findings_are_compared_where_both_sites_show_both_counts():
    one = {"Mass": labels(10, 0), "Nodule": labels(5, 5), "Edema": labels(None, 90), "Hernia": labels(0, 0, 100)}
    other = {"Mass": labels(0, 20), "Nodule": labels(50, 50), "Edema": labels(20, 80), "Hernia": labels(20, 80)}
    assert findings_distance(one, other) == (0.5, ("Mass", "Nodule"))


def test_without_a_common_finding_the_distance_is_undefined():
    assert findings_distance({"Mass": labels(0, 0, 9)}, {"Mass": labels(5, 5)}) == (None, ())


def test_classes_are_compared_over_those_that_both_sites_show():
    one = Table(cells={"normal": 10, "tumour": 0, "rare": None})
    other = Table(cells={"normal": 0, "tumour": 30, "rare": 20})
    assert classes_distance(one, other, ("normal", "tumour", "rare")) == (1.0, ("normal", "tumour"))
    assert classes_distance(one, other, ("normal", "rare")) == (None, ("normal",))
