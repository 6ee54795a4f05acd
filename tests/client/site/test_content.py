"""Tasks and replies as bytes, and back."""

import numpy as np
import pytest

from fedthorax.client.site.content import PART_BYTES, Assembly, Content, content_of, message_of, parts_of
from fedthorax.common.messages import Reply, Task

TASK = Task(
    "train",
    "St. Änna",
    3,
    "{}",
    weights={"xray.backbone": np.arange(PART_BYTES // 3, dtype=np.float32), "disease": np.array([1.5], np.float32)},
    packed={"fusion": np.arange(5, dtype=np.uint8)},
    splits=("valid", "test"),
    acknowledged=("a", "b"),
)


def _carried(message: Task | Reply, kind: type) -> Task | Reply:
    header, *data = parts_of(message)
    segments = tuple((segment.name, segment.num_values, segment.packed) for segment in header.header.segments)
    assembly = Assembly(header.header.json_bytes, segments, 1 << 30)
    for part in data:
        assert len(part.data) <= PART_BYTES
        assembly.add(part.data)
    return message_of(kind, assembly.content())


def test_a_task_arrives_as_it_was_sent() -> None:
    arrived = _carried(TASK, Task)
    assert isinstance(arrived, Task)
    assert list(arrived.weights) == list(TASK.weights)
    assert all(np.array_equal(arrived.weights[name], TASK.weights[name]) for name in TASK.weights)
    assert {name: values.tolist() for name, values in arrived.packed.items()} == {"fusion": [0, 1, 2, 3, 4]}
    assert (arrived.id, arrived.splits, arrived.acknowledged) == (TASK.id, ("valid", "test"), ("a", "b"))


def test_a_reply_without_weights_arrives_as_it_was_sent() -> None:
    reply = Reply("describe", "north", 0, {"data": {"n": 1}}, error="no", task_id="x")
    assert _carried(reply, Reply) == reply


@pytest.mark.parametrize(
    ("json_bytes", "data", "words"),
    [
        (4, b"12345", "more data than the 4 bytes"),
        (4, b"123", "ends after 3 of 4 bytes"),
        (101, b"", "a message of 101 bytes; at most 100"),
    ],
)
def test_what_does_not_fit_its_header_is_refused(json_bytes: int, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _assembled(json_bytes, data)


def _assembled(json_bytes: int, data: bytes) -> Content:
    assembly = Assembly(json_bytes, (), 100)
    assembly.add(data)
    return assembly.content()


def test_a_message_of_another_version_names_the_odd_fields() -> None:
    with pytest.raises(ValueError, match="a reply of another version of FedThorax: it differs in num_pair, num_pairs"):
        message_of(Reply, Content(content_of(Reply("train", "n", 1)).text.replace(b"num_pairs", b"num_pair"), {}))


def test_a_nan_is_no_message() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_of(Reply("train", "n", 1, {"loss": float("nan")}))
