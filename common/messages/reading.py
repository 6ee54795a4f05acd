"""Messages out of the bytes that came: whatever these are, the result is a message or a ValueError in one line."""

import json
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fedthorax.common.ground.fields import one_line
from fedthorax.common.messages.message import ARRAYS, Reply, Task, by_field
from fedthorax.common.messages.replies import REPLIES, TrainReply
from fedthorax.common.messages.tasks import TASKS, AnyTask, ModelTask
from fedthorax.common.wire.parcel import Parcel

_NOT_IN_TEXT = {*ARRAYS, "address"}
_Model = TypeVar("_Model")


def read_task(parcel: Parcel) -> Task:
    """Raises ValueError where it is no task of this version. Whoever uses its segments compares their hashes; those of
    a light parcel have yet to come (``with_segments``)."""
    task: Task = _read(_reader(AnyTask), parcel.text, max(kind.most_text for kind in TASKS.values()), "task")
    return with_segments(task, parcel, isinstance(task, ModelTask), task.by_address)


def read_reply(parcel: Parcel, task: Task, late: bool = False) -> Reply:
    """The reply of whoever was asked ``task``. Raises ValueError where it is none to a task of this kind. Of a ``late``
    one the segments need not be there."""
    kind = REPLIES[task.kind]
    reply: Reply = _read(_reader(kind), parcel.text, kind.most_text, "reply")
    if "egress_head" in reply.model_fields_set:
        raise ValueError("a reply: egress_head stands in its text")
    if not parcel.light:
        parcel.require_intact()
    changes = {"egress_head": one_line(parcel.stamp, 200), "address": parcel.address}
    return with_segments(reply, parcel, isinstance(reply, TrainReply), late).model_copy(update=changes)


def _read(reader: "TypeAdapter[_Model]", text: bytes, most: int, what: str) -> _Model:
    """The parser gives up at 200 levels instead of going down further, so the second look, for keys that stand there
    twice, meets no deeper ones."""
    if len(text) > most:
        raise ValueError(f"a {what} of {len(text)} bytes of text; at most {most} are read")
    try:
        message = reader.validate_json(text)
        json.loads(text, object_pairs_hook=_once)
    except ValidationError as error:
        raise ValueError(f"not a {what} of this version of FedThorax: {one_fault(error)}") from None
    except ValueError as error:
        raise ValueError(f"not a {what}: {one_line(str(error), 300)}") from None
    return message


def one_fault(error: ValidationError) -> str:
    """The first thing that is wrong, in one line; of what came nothing is quoted but the name of its place."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = "expected another kind of task" if first["type"].startswith("union_tag") else first["msg"]
    place = ".".join(map(str, first["loc"]))
    return one_line(f"{one_line(place, 200)}: {message}" if place else message, 400)


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands there twice")


def with_segments(message: Any, parcel: Parcel, may_carry: bool = True, may_be_light: bool = False) -> Any:
    """The message with the segments of its parcel. ValueError where it may carry none, or they have not come."""
    if odd := sorted(_NOT_IN_TEXT & message.model_fields_set):
        raise ValueError(f"a reply or task of kind {message.kind}: {', '.join(odd)} stands in its text")
    segments = parcel.contents.segments
    if segments and not may_carry:
        raise ValueError(f"a reply or task of kind {message.kind} carries no segments, but {len(segments)} came")
    if parcel.light:
        if not may_be_light:
            raise ValueError(f"its {len(segments)} segments did not come with it")
        return message
    return message.model_copy(update=by_field(parcel.arrays()))


@cache
def _reader(kind: Any) -> "TypeAdapter[Any]":
    return TypeAdapter(kind)
