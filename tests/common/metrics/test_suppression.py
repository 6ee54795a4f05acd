from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedthorax.common.config.privacy import PrivacyConfig, stricter
from fedthorax.common.metrics.suppression import Count, shown_counts, shown_total

EXACT = PrivacyConfig(smallest_count=5, round_to=1)
COARSE = PrivacyConfig(smallest_count=5, round_to=5)


def shown(policy: PrivacyConfig, *images: int) -> list[int | None]:
    """One image a patient."""
    cells = {f"cell {number}": Count(value, value) for number, value in enumerate(images)}
    return list(shown_counts(cells, sum(images), policy).values())


def test_large_counts_are_rounded_to_the_nearest_multiple():
    assert shown(COARSE, 52, 53, 497) == [50, 55, 495]


def test_with_a_smallest_count_of_one_everything_is_exact():
    assert shown(PrivacyConfig(smallest_count=1, round_to=1), 1, 0, 7) == [1, 0, 7]


def test_a_small_count_is_hidden_and_never_shown_as_zero():
    assert shown(EXACT, 3, 2, 40, 60) == [None, None, 40, 60]


def test_a_count_of_nobody_is_zero():
    assert shown(EXACT, 0, 20, 30) == [0, 20, 30]


def test_a_single_small_count_takes_the_smallest_other_with_it_where_the_total_would_tell():
    assert shown(EXACT, 3, 20, 30) == [None, None, 30]


def test_rounding_alone_protects_a_single_small_count():
    assert shown(COARSE, 3, 0, 497) == [None, 0, 495]


def test_rounding_does_not_protect_where_it_leaves_one_value_only():
    # 496 of 500 is shown as 495, that is 493 to 497: 3 or 4 are left. 497 of 501: 495 leaves 4 alone.
    assert shown(COARSE, 4, 0, 496) == [None, 0, 495]
    assert shown(COARSE, 4, 0, 497) == [None, 0, None]


def test_equally_small_others_are_hidden_together():
    assert shown(EXACT, 3, 20, 20, 30) == [None, None, None, 30]


def test_a_table_of_few_patients_is_hidden_whole():
    assert shown(EXACT, 4, 4, 4) == [None, None, None]
    assert shown(EXACT, 12, 0, 0) == [None, None, None]
    assert shown(EXACT, 13, 0, 0) == [13, 0, 0]


def test_a_table_of_nobody_shows_its_zeros():
    assert shown(EXACT, 0, 0, 0) == [0, 0, 0]


def test_patients_decide_and_not_images():
    cells = {"one patient": Count(300, 1), "many": Count(400, 40), "more": Count(900, 60)}
    assert shown_counts(cells, 100, COARSE) == {"one patient": None, "many": None, "more": 900}


def test_a_total_of_few_patients_is_hidden():
    assert [shown_total(images, images, COARSE) for images in (0, 4, 5, 12)] == [0, None, 5, 10]


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


@cache
def explanations(policy: PrivacyConfig, total: int, num_cells: int) -> dict[tuple[int | None, ...], list]:
    """All tables with this total, by what is shown of them: the attacker who knows the total and the method."""
    found = defaultdict(list)
    for table in compositions(total, num_cells):
        found[tuple(shown(policy, *table))].append(table)
    return found


policies = st.integers(3, 6).flatmap(
    lambda smallest: st.builds(
        PrivacyConfig, smallest_count=st.just(smallest), round_to=st.sampled_from([1, 2, smallest])
    )
)


@given(policies, st.integers(2, 4), st.integers(5, 32))
@settings(max_examples=60, deadline=None)
def test_no_hidden_count_can_be_computed_from_the_exact_total(policy, num_cells, total):
    assume(total >= policy.smallest_count)
    for output, tables in explanations(policy, total, num_cells).items():
        for position, value in enumerate(output):
            if value is None:
                assert len({table[position] for table in tables}) > 1, (output, tables)


@given(policies, st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), min_size=2, max_size=6))
@settings(max_examples=300)
def test_no_count_of_few_patients_is_ever_shown_and_no_shown_count_is_zero_for_someone(policy, cells):
    counts = {str(number): Count(patients * each, patients) for number, (patients, each) in enumerate(cells)}
    released = shown_counts(counts, sum(count.patients for count in counts.values()), policy)
    for name, count in counts.items():
        if 0 < count.patients < policy.smallest_count:
            assert released[name] is None
        if released[name] is not None:
            assert abs(released[name] - count.images) <= policy.round_to // 2
            assert (released[name] == 0) == (count.images == 0)


@given(policies, st.permutations([Count(3, 3), Count(40, 2), Count(50, 50), Count(60, 60)]))
def test_the_output_does_not_depend_on_names(policy, order):
    cells = dict(zip("abcd", order, strict=True))
    released = shown_counts(cells, 115, policy)
    by_count = sorted((str(cells[name]), released[name]) for name in cells)
    straight = {str(count): count for count in order}
    assert by_count == sorted(shown_counts(straight, 115, policy).items())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"smallest_count": 2, "round_to": 1}, "must be 1 .* or at least 3"),
        ({"smallest_count": 5, "round_to": 10}, "round_to must be at most smallest_count"),
        ({"smallest_count": 0}, "greater than or equal to 1"),
    ],
)
def test_a_policy_that_would_not_protect_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        PrivacyConfig(**values)


def test_the_stricter_value_of_each_wins():
    steps = [PrivacyConfig(smallest_count=10, round_to=1), PrivacyConfig(smallest_count=5, round_to=5)]
    assert all(stricter(a, b) == PrivacyConfig(smallest_count=10, round_to=5) for a, b in pairwise([*steps, steps[0]]))
