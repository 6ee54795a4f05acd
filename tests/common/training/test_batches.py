import pytest

from fedthorax.common.training.batches import batches


@pytest.mark.parametrize(
    ("count", "size", "lengths"), [(0, 4, []), (3, 4, [3]), (8, 4, [4, 4]), (9, 4, [3, 3, 3]), (17, 16, [9, 8])]
)
def test_batches_are_even_so_that_none_is_tiny(count, size, lengths):
    runs = list(batches(count, size))
    assert [len(run) for run in runs] == lengths
    assert [row for run in runs for row in run] == list(range(count))
