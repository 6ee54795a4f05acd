import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.counts import HIDDEN_PAIR, NEVER_KNOWN, finding_pairs
from fedthorax.common.messages.statistics import Table
from fedthorax.common.metrics.suppression import Count, shown_counts

EXACT = PrivacyConfig(smallest_count=5, round_to=1)


def one_pair(policy: PrivacyConfig, both: int, first: int, second: int, neither: int):
    """The pair of two findings on so many X-rays, one a patient: with both, the first or the second only, or none."""
    rows = [(1, 1)] * both + [(1, 0)] * first + [(0, 1)] * second + [(0, 0)] * neither
    targets = np.array(rows, np.float32).reshape(-1, 2)
    tables = {}
    for column, name in enumerate(("Mass", "Nodule")):
        present = int(np.sum(targets[:, column] == 1))
        cells = {"present": Count(present, present), "absent": Count(len(rows) - present, len(rows) - present)}
        tables[name] = Table(cells=shown_counts(cells, len(rows), policy), reason="hidden")
    (pair,) = finding_pairs(targets, np.arange(len(rows)), ("Mass", "Nodule"), tables, policy)
    return pair


def test_a_pair_is_counted():
    assert one_pair(EXACT, 7, 10, 12, 40).images == 7
    assert one_pair(PrivacyConfig(), 7, 10, 12, 40).images == 5


def test_a_pair_that_never_occurs_is_zero():
    assert one_pair(EXACT, 0, 10, 12, 40).images == 0


@pytest.mark.parametrize("four", [(3, 10, 12, 40), (10, 3, 12, 40), (10, 12, 3, 40), (10, 12, 40, 3)])
def test_each_of_the_four_combinations_hides_the_pair(four):
    pair = one_pair(EXACT, *four)
    assert (pair.images, pair.reason) == (None, HIDDEN_PAIR)


def test_a_pair_with_a_finding_whose_own_count_is_hidden_is_hidden_too():
    assert one_pair(EXACT, 0, 3, 20, 40).reason == HIDDEN_PAIR


def test_images_of_one_patient_count_as_one_patient():
    targets = np.array([(1, 1)] * 8 + [(0, 0)] * 40, np.float32)
    tables = {name: Table(cells={"present": 8, "absent": 40}) for name in ("Mass", "Nodule")}
    patients = np.array([0] * 8 + list(range(1, 41)))
    (pair,) = finding_pairs(targets, patients, ("Mass", "Nodule"), tables, EXACT)
    assert pair.images is None


def test_findings_that_are_never_known_together_are_unknown_and_not_zero():
    targets = np.array([(1, np.nan)] * 20 + [(np.nan, 1)] * 20, np.float32)
    tables = {name: Table(cells={"present": 20, "absent": 0}) for name in ("Mass", "Nodule")}
    (pair,) = finding_pairs(targets, np.arange(40), ("Mass", "Nodule"), tables, EXACT)
    assert (pair.images, pair.reason) == (None, NEVER_KNOWN)


@given(st.integers(3, 5), st.integers(0, 14), st.integers(0, 14), st.integers(0, 14), st.integers(0, 14))
def test_a_hidden_pair_cannot_be_computed_from_the_exact_counts_of_its_findings(smallest, both, first, second, neither):
    policy = PrivacyConfig(smallest_count=smallest, round_to=1)
    hidden = one_pair(policy, both, first, second, neither)
    assume(hidden.images is None)
    with_first, with_second = both + first, both + second
    total = with_first + second + neither
    assume(total > 0)
    alternatives = [
        other
        for other in range(total + 1)
        if min(with_first - other, with_second - other, total - with_first - with_second + other) >= 0
        and one_pair(policy, other, with_first - other, with_second - other, total - with_first - with_second + other)
        == hidden
    ]
    margins_shown = all(
        shown_counts({"present": Count(count, count), "absent": Count(total - count, total - count)}, total, policy)[
            "present"
        ]
        is not None
        for count in (with_first, with_second)
    )
    assert len(alternatives) > 1 or not margins_shown
