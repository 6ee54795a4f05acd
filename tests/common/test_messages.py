from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedthorax.common.messages import Reply, Task, decode_reply, decode_task, encode, num_bytes

TASK = Task(
    "train",
    "St. Anna's",
    3,
    '{"name": "x"}',
    {"fusion": np.array([1.5, -2], np.float32)},
    layout="abc",
    phase=1,
    learning_rate=3e-4,
    splits=("valid",),
    test_digests=("d1", "d2"),
    digest_key="00ff",
    run="tiny-1",
    model_sha256="ab",
    sha256={"fusion": "cd"},
    deadline=12.5,
    acknowledged=("t1", "t2"),
    audit_head="cd",
    egress_head="ee",
    outcome={"models": ["best"]},
)


def equal(a: Task | Reply, b: Task | Reply) -> bool:
    same_fields = {k: v for k, v in vars(a).items() if k != "weights"} == {
        k: v for k, v in vars(b).items() if k != "weights"
    }
    return same_fields and all(
        values.tobytes() == b.weights[name].tobytes() and values.dtype == b.weights[name].dtype
        for name, values in a.weights.items()
    )


def test_a_task_arrives_as_it_was_sent():
    assert equal(TASK, decode_task(encode(TASK)))


def test_a_reply_arrives_as_it_was_sent():
    reply = Reply("train", "north", 3, {"valid": {"loss": None}}, {"disease": np.zeros(4, np.float32)}, num_pairs=7)
    assert equal(reply, decode_reply(encode(reply)))
    lost = Reply("train", "north", 3, lacking=("fusion",))
    assert decode_reply(encode(lost)) == lost


def test_segments_that_the_hospital_holds_do_not_travel():
    frozen = {"ct.backbone": np.zeros(1000, np.float32)}
    task = replace(TASK, weights={**frozen, **TASK.weights}, held=("ct.backbone",))
    record = encode(task)
    assert set(decode_task(record).weights) == {"fusion"}
    assert num_bytes(record) < num_bytes(encode(replace(task, held=()))) - 4000


def test_a_number_that_json_does_not_know_is_not_sent():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Reply("train", "north", 1, {"loss": float("nan")}))


def cut_short(record):
    array = record.array_records["weights"]["weights"]
    array.data = array.data[:-1]
    return record


def test_whatever_number_of_segments_a_message_has_flower_carries_the_same_number_of_objects():
    names = ("xray.backbone", "ct.backbone", "fusion", "disease")
    record = encode(replace(TASK, weights={name: np.ones(10, np.float32) for name in names}))
    assert len(get_all_nested_objects(record)) == len(get_all_nested_objects(encode(TASK))) == 5
    assert set(decode_task(record).weights) == set(names)


def test_packed_segments_arrive_beside_whole_ones_with_floats_aligned():
    reply = Reply(
        "train",
        "north",
        1,
        packed={"fusion": np.arange(3, dtype=np.uint8)},
        weights={"disease": np.arange(4, dtype=np.float32), "cancer": np.empty(0, np.float32)},
    )
    arrived = decode_reply(encode(reply))
    assert {name: values.tolist() for name, values in arrived.packed.items()} == {"fusion": [0, 1, 2]}
    assert {name: values.tolist() for name, values in arrived.weights.items()} == {
        "disease": [0, 1, 2, 3],
        "cancer": [],
    }
    assert arrived.weights["disease"].flags.aligned


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (RecordDict(), "not a FedThorax reply"),
        (RecordDict({"fedthorax": ConfigRecord({"json": "{"})}), "not a FedThorax reply"),
        (RecordDict({"fedthorax": ConfigRecord({"json": "{}", "segments": "[]"})}), "not a FedThorax reply"),
        (cut_short(encode(TASK)), "not a FedThorax reply: .*8 were announced"),
        (encode(TASK), "a reply of another version of FedThorax: it differs in .*num_pairs"),
    ],
)
def test_what_is_not_a_reply_is_refused(record, message):
    with pytest.raises(ValueError, match=message):
        decode_reply(record)


def test_bytes_count_arrays_and_text():
    small, large = (
        num_bytes(encode(Reply("train", "a", 1, weights={"f": np.zeros(n, np.float32)}))) for n in (1000, 2000)
    )
    assert large - small == 4000


def test_a_task_is_the_same_however_often_it_is_sent_and_another_from_another_model():
    again = replace(TASK, deadline=99.0, acknowledged=(), audit_head="ef")
    other = replace(TASK, model_sha256="ac")
    assert again.id == TASK.id != other.id
