"""A parcel over the worker's socket, and back."""

import numpy as np
import pytest

from fedthorax.client.site.protocol import DATA, HEADER, PART_BYTES, Assembly, parts_of
from fedthorax.common.messages.reading import read_task
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import EvaluateTask
from fedthorax.common.wire.parcel import Cargo, Parcel, pack_parcel

TASK = EvaluateTask(
    site="St. Änna",
    round=3,
    weights={"xray.backbone": np.arange(PART_BYTES // 3, dtype=np.float32), "disease": np.array([1.5], np.float32)},
    packed={"fusion": np.arange(5, dtype=np.uint8)},
    splits=("valid", "test"),
    acknowledged=("a", "b"),
)


def carried(parcel: Parcel, largest: int = 1 << 30) -> Parcel:
    header, *data = parts_of(parcel)
    assembly = Assembly(header, largest)
    for part in data:
        assert len(part) <= PART_BYTES + 1
        assembly.add(part)
    return assembly.parcel()


def test_a_task_arrives_as_it_was_sent() -> None:
    arrived = read_task(carried(closed(TASK)))
    assert isinstance(arrived, EvaluateTask)
    assert list(arrived.weights) == list(TASK.weights)
    assert all(np.array_equal(arrived.weights[name], TASK.weights[name]) for name in TASK.weights)
    assert {name: values.tolist() for name, values in arrived.packed.items()} == {"fusion": [0, 1, 2, 3, 4]}
    assert (arrived.id, arrived.splits, arrived.acknowledged) == (TASK.id, ("valid", "test"), ("a", "b"))


def test_what_arrives_are_the_same_bytes_with_the_same_address_and_the_stamp() -> None:
    parcel = closed(TASK)
    stamped = Parcel(parcel.manifest, parcel.text, parcel.data, "a head")
    arrived = carried(stamped)
    assert (arrived.manifest, arrived.text, arrived.joined()) == (parcel.manifest, parcel.text, parcel.joined())
    assert (arrived.address, arrived.stamp) == (parcel.address, "a head")


def test_what_comes_in_one_run_of_bytes_is_handed_on_without_a_copy() -> None:
    arrived = carried(closed(TASK))
    assert arrived.joined() is arrived.joined()
    assert arrived.joined() is arrived.data[0].obj


PARCEL = pack_parcel(b"1234", Cargo.of({}))


@pytest.mark.parametrize(
    ("data", "words"), [(b"12345", "more data than the 4 bytes"), (b"123", "ends after 3 of 4 bytes")]
)
def test_what_does_not_fit_its_header_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        assembled(data)


def assembled(data: bytes) -> Parcel:
    header, *_ = parts_of(PARCEL)
    assembly = Assembly(header, 100)
    assembly.add(DATA + data)
    return assembly.parcel()


@pytest.mark.parametrize("first", [b"", DATA + b"{}", b"X"])
def test_what_does_not_begin_with_a_header_is_refused(first: bytes) -> None:
    with pytest.raises(ValueError, match="expected a header as the first part"):
        Assembly(first, 100)


def test_what_is_no_data_after_the_header_is_refused() -> None:
    header, *_ = parts_of(PARCEL)
    with pytest.raises(ValueError, match="expected data after the header"):
        Assembly(header, 100).add(HEADER + b"1234")


def test_a_parcel_larger_than_what_is_taken_is_refused_before_it_comes() -> None:
    with pytest.raises(ValueError, match="a message of 4 bytes; at most 3"):
        carried(PARCEL, largest=3)
