"""Messages as Flower carries them, and what is refused of what comes."""

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedthorax.common.messages.message import Reply, Task
from fedthorax.common.messages.reading import read_reply, read_task
from fedthorax.common.messages.replies import EvaluateReply, TrainReply
from fedthorax.common.messages.sending import closed, from_flower, num_bytes, to_flower
from fedthorax.common.messages.tasks import EvaluateTask, TrainTask, sent_arrays
from fedthorax.common.wire.parcel import Cargo, Parcel, pack_parcel

from ...told import changed, trained

WEIGHTS = {"fusion": np.array([1.5, -2], np.float32)}
TASK = TrainTask(
    site="St. Anna's",
    round=3,
    experiment='{"name": "x"}',
    weights=WEIGHTS,
    layout="abc",
    phase=1,
    learning_rate=3e-4,
    run="tiny-1",
    model_sha256="ab",
    sha256={"fusion": "cd"},
    deadline=12.5,
    acknowledged=("t1", "t2"),
    audit_head="cd",
    egress_head="ee",
)
REPLY = TrainReply(site="St. Anna's", round=3, task_id=TASK.id, results=trained(7), weights=WEIGHTS)


def carried(message: Task | Reply, stamp: str = "") -> Parcel:
    parcel = closed(message)
    return from_flower(to_flower(Parcel(parcel.manifest, parcel.text, parcel.data, stamp)))


def same(a: Task | Reply, b: Task | Reply) -> bool:
    nothing: dict[str, Any] = {"weights": {}, "packed": {}, "address": "", "egress_head": ""}
    bits = [{name: values.tobytes() for name, values in message.weights.items()} for message in (a, b)]
    return changed(a, **nothing) == changed(b, **nothing) and bits[0] == bits[1]


def test_a_task_arrives_as_it_was_sent() -> None:
    assert same(read_task(carried(TASK)), TASK)
    assert read_task(carried(TASK)).egress_head == "ee"


def test_a_reply_arrives_as_it_was_sent_with_the_address_and_the_head_of_the_log() -> None:
    arrived = read_reply(carried(REPLY, "head\x1b"), TASK)
    assert same(arrived, REPLY)
    assert (arrived.address, arrived.egress_head) == (closed(REPLY).address, "head ")


def test_segments_that_the_hospital_holds_do_not_travel() -> None:
    frozen = {"ct.backbone": np.zeros(1000, np.float32)}
    task = changed(TASK, weights={**frozen, **WEIGHTS}, held=("ct.backbone",))
    parcel = closed(task, Cargo.of(sent_arrays(task)))
    assert set(read_task(parcel).weights) == {"fusion"}
    assert num_bytes(to_flower(parcel)) < num_bytes(to_flower(closed(task))) - 4000


def test_whatever_number_of_segments_a_message_has_flower_carries_the_same_number_of_objects() -> None:
    names = ("xray.backbone", "ct.backbone", "fusion", "disease")
    record = to_flower(closed(changed(TASK, weights={name: np.ones(10, np.float32) for name in names})))
    assert len(get_all_nested_objects(record)) == len(get_all_nested_objects(to_flower(closed(TASK)))) == 5
    assert set(read_task(from_flower(record)).weights) == set(names)
    assert len(get_all_nested_objects(to_flower(closed(TASK).without_data()))) == 2


def test_a_task_is_the_same_however_often_it_is_sent_and_another_from_another_model() -> None:
    again = changed(TASK, deadline=99.0, acknowledged=(), audit_head="ef")
    assert again.id == TASK.id != changed(TASK, model_sha256="ac").id
    assert EvaluateTask(site="a", round=1).id != EvaluateTask(site="a", round=1, splits=("test",)).id


def record(**texts: Any) -> RecordDict:
    parcel = closed(REPLY)
    told = {"manifest": parcel.manifest, "message": parcel.text, "stamp": ""} | texts
    return RecordDict({"fedthorax": ConfigRecord(told), "weights": to_flower(parcel).array_records["weights"]})


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (RecordDict(), "not a message of this version of FedThorax: it lacks 'fedthorax'"),
        (record(manifest="{}"), "its texts are of other types"),
        (record(stamp=3), "its texts are of other types"),
        (record(message=b"{}"), "2 bytes of text"),
        (
            to_flower(closed(TASK)),
            "not a reply of this version of FedThorax: experiment: Extra inputs are not permitted",
        ),
        (RecordDict({"fedthorax": ConfigRecord(), "weights": ArrayRecord()}), "it lacks 'manifest'"),
    ],
)
def test_what_is_not_a_reply_is_refused(came: RecordDict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_reply(from_flower(came), TASK)


def test_only_a_reply_to_training_carries_weights() -> None:
    task = EvaluateTask(site="St. Anna's", round=3)
    parcel = closed(EvaluateReply(site="St. Anna's", round=3, error="no", weights=WEIGHTS))
    with pytest.raises(ValueError, match="of kind evaluate carries no segments, but 1 came"):
        read_reply(parcel, task)


@pytest.mark.parametrize("name", ["weights", "packed", "address", "egress_head"])
def test_what_travels_beside_the_text_does_not_stand_in_it(name: str) -> None:
    text = closed(REPLY).text[:-1] + b',"%s":%s}' % (name.encode(), b"{}" if name in ("weights", "packed") else b'"x"')
    with pytest.raises(ValueError, match=f"{name} stands in its text"):
        read_reply(pack_parcel(text, Cargo.of({})), TASK)
