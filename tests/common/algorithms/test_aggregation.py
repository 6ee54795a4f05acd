import itertools

import numpy as np
import pytest

from fedthorax.common.algorithms.aggregation import (
    LIMIT,
    RESOLUTION,
    WeightedMean,
    all_below,
)
from fedthorax.common.algorithms.branchwise import FederatedAverage
from fedthorax.common.algorithms.settings import MAX_EXAMPLES


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def moved_from(mean: WeightedMean) -> np.ndarray:
    """Values from which all others are far."""
    return np.full(mean._high.size, -1e6, np.float32)


def test_the_mean_is_weighted_by_examples():
    mean = WeightedMean(2)
    mean.add(vector(1.0, -2.0), 1)
    mean.add(vector(5.0, 2.0), 3)
    assert mean.mean(moved_from(mean)).tolist() == [4.0, 1.0]


def test_any_order_of_arrival_gives_the_same_bits():
    random = np.random.default_rng(3)
    updates = [
        (random.normal(0, 10.0 ** random.integers(-6, 4), 500).astype(np.float32), n) for n in (7, 1, 311, 64, 5)
    ]
    results = set()
    float_sums = set()
    for order in itertools.permutations(updates):
        mean = WeightedMean(500)
        for values, examples in order:
            mean.add(values, examples)
        results.add(mean.mean(moved_from(mean)).tobytes())
        float_sums.add(sum(values * np.float32(examples) for values, examples in order).tobytes())
    assert len(results) == 1
    assert len(float_sums) > 1  # the trouble is real: a float32 sum of these updates depends on the order


def test_the_mean_is_right_to_the_stated_resolution():
    random = np.random.default_rng(5)
    updates = [(random.normal(0, 100, 1000).astype(np.float32), int(n)) for n in random.integers(1, 10**6, 4)]
    mean = WeightedMean(1000)
    for values, examples in updates:
        mean.add(values, examples)
    total = sum(n for _, n in updates)
    exact = sum(values.astype(np.longdouble) * n for values, n in updates) / total
    rounding_to_float32 = np.spacing(np.abs(exact).astype(np.float32)) / 2
    assert (np.abs(mean.mean(moved_from(mean)) - exact) <= rounding_to_float32 * 1.001 + RESOLUTION).all()


def test_equal_updates_average_to_themselves():
    values = vector(0.1, -3.25, 1000.5, 0.0)
    mean = WeightedMean(4)
    mean.add(values, 17)
    mean.add(values, 1)
    assert mean.mean(moved_from(mean)).tobytes() == values.tobytes()


def test_values_that_nobody_moves_keep_their_bits_and_those_beside_them_are_averaged():
    """Far below the grid, where every other value would become 0: what was frozen is not what a sum makes of it."""
    before = vector(3e-13, -4.4e-13, 1e-30, -0.0, 7e-13, 0.1, 3e-13)
    north, south = before.copy(), before.copy()
    north[-1], south[-1] = 5.0, 3.0
    mean = WeightedMean(7)
    mean.add(north, 3)
    mean.add(south, 1)
    assert mean.mean(before).tobytes() == np.append(before[:-1], np.float32(4.5)).tobytes()


def test_a_value_that_some_move_by_the_least_there_is_does_not_stay():
    before, step = vector(3e-13), np.float32(RESOLUTION)
    mean = WeightedMean(1)
    mean.add(before, 2**20)
    mean.add(before + step, 1)
    (found,) = mean.mean(before)
    assert found == pytest.approx(RESOLUTION / (2**20 + 1))


def test_the_largest_values_and_counts_do_not_overflow():
    largest = float(np.nextafter(np.float32(LIMIT), np.float32(0)))
    mean = WeightedMean(2)
    mean.add(vector(largest, -largest), MAX_EXAMPLES - 1)
    mean.add(vector(largest, -largest), 1)
    assert mean.mean(moved_from(mean)).tolist() == [largest, -largest]


@pytest.mark.parametrize(
    ("values", "examples", "message"),
    [
        (vector(1.0), 1, "expected 2 values, got an array of shape (1,)"),
        (vector(1.0, np.nan), 1, "must be finite"),
        (vector(np.inf, 1.0), 1, "must be finite"),
        (vector(LIMIT, 1.0), 1, "below 4194304"),
        (vector(1.0, 1.0), 0, "num_examples must be above 0, got 0"),
        (vector(1.0, 1.0), -3, "num_examples must be above 0, got -3"),
        (vector(1.0, 1.0), MAX_EXAMPLES, "more than 2147483647 examples"),
    ],
)
def test_a_refused_update_leaves_the_mean_as_it_was(values, examples, message):
    mean = WeightedMean(2)
    mean.add(vector(2.0, 4.0), 1)
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        mean.add(values, examples)
    assert mean.mean(moved_from(mean)).tolist() == [2.0, 4.0]


@pytest.mark.parametrize("place", [0, 20_000, 49_999])
def test_a_long_update_that_turns_out_bad_somewhere_leaves_no_bit_behind(place):
    good, bad = np.full(50_000, 2, np.float32), np.full(50_000, 7, np.float32)
    bad[place] = np.nan
    mean = WeightedMean(50_000)
    mean.add(good, 3)
    with pytest.raises(ValueError, match="must be finite"):
        mean.add(bad, 5)
    assert mean.mean(moved_from(mean)).tobytes() == good.tobytes()


def test_there_is_no_mean_of_nothing():
    with pytest.raises(ValueError, match="nothing to average"):
        WeightedMean(2).mean(vector(0, 0))


def test_segments_are_averaged_each_by_itself():
    average, before = FederatedAverage({"fusion": 2, "cancer": 1}), {"fusion": vector(9, 9), "cancer": vector(9)}
    average.add({"fusion": vector(0, 2), "cancer": vector(10)}, 1)
    average.add({"fusion": vector(4, 2), "cancer": vector(-10)}, 1)
    assert {name: values.tolist() for name, values in average.result(before).items()} == {
        "fusion": [2, 2],
        "cancer": [0],
    }


def test_equal_weights_give_the_same_bits_whatever_they_are():
    random = np.random.default_rng(7)
    updates = [random.normal(0, 3, 2000).astype(np.float32) for _ in range(3)]
    results = set()
    for weight in (1, 7, 1000, 123457):
        mean = WeightedMean(2000)
        for values in updates:
            mean.add(values, weight)
        results.add(mean.mean(moved_from(mean)).tobytes())
    assert len(results) == 1


def test_sums_and_mean_are_those_of_whole_numbers_worked_out_one_by_one():
    """Values of every size, and more of them than are added at a time."""
    random = np.random.default_rng(7)
    sizes = 10.0 ** random.integers(-14, 6, 40_000)
    updates = [(random.normal(0, 1, sizes.size) * sizes).astype(np.float32) for _ in range(3)]
    mean, counts = WeightedMean(sizes.size), (17, 1, 2**20)
    for values, examples in zip(updates, counts, strict=True):
        mean.add(values, examples)
    found = mean.mean(moved_from(mean))
    for place in range(0, sizes.size, 997):
        total = sum(round(float(values[place]) * 2**40) * n for values, n in zip(updates, counts, strict=True))
        exact = np.float32(total / sum(counts) / 2**40)
        assert abs(found[place] - exact) <= np.spacing(abs(exact))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 8.0, -8.0])
def test_one_value_out_of_range_is_seen_wherever_it_stands(bad):
    for place in (0, 500, 999):
        values = np.full(1000, 7.5, np.float32)
        assert all_below(values, 8.0)
        values[place] = bad
        assert not all_below(values, 8.0)
    assert all_below(vector(), 8.0)
