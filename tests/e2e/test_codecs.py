"""A run whose weights travel rounded. That it has the same bits again, and that packing without loss changes none:
test_same_bits.py."""

import pytest

from .same_bits import proof, undisturbed


@pytest.mark.slow
def test_rounded_updates_take_a_part_of_the_bytes_and_nothing_is_told_to_be_wrong(workplace, simulated):
    rounded = undisturbed(workplace, "federation.codec=int4")
    metrics, plain = workplace.metrics(rounded.name), workplace.metrics("tiny")
    assert metrics["totals"]["bytes_received"] < 0.25 * plain["totals"]["bytes_received"]
    assert [entry["failures"] + entry["warnings"] for entry in metrics["rounds"]] == [
        entry["failures"] + entry["warnings"] for entry in plain["rounds"]
    ]
    assert proof(rounded)["weights"] != proof(undisturbed(workplace))["weights"]
