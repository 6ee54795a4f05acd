"""What every message between the lead and a hospital has in common; nothing here is slow to import."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, SkipValidation, WithJsonSchema

from fedthorax.common.ground.fields import Line, Mark, Name, Positive, Round
from fedthorax.common.ground.frozen import Frozen

TaskKind = Literal[
    "describe", "train", "evaluate", "personalise", "statistics", "finish", "present", "decision", "unmask"
]
Segments = Mapping[str, NDArray[np.float32]]
PackedSegments = Mapping[str, NDArray[np.uint8]]

_Of = TypeVar("_Of")
_Arrays = Annotated[_Of, SkipValidation, WithJsonSchema({})]  # no part of the text

ARRAYS = ("weights", "packed", "beside")
BESIDE = "beside/"  # on the way, before the segment: no segment's name has a slash
MOST_TEXT = 8 << 20  # bytes of a message's text


class Message(Frozen):
    """``weights`` are whole segments, ``packed`` those that travel packed, ``beside`` vectors of segments that an
    algorithm sends with them; all three travel beside the text."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    most_text: ClassVar[int] = MOST_TEXT

    kind: TaskKind
    site: Name
    round: Round
    weights: _Arrays[Segments] = Field(default_factory=dict, exclude=True, repr=False)
    packed: _Arrays[PackedSegments] = Field(default_factory=dict, exclude=True, repr=False)
    beside: _Arrays[Segments] = Field(default_factory=dict, exclude=True, repr=False)

    def model_post_init(self, context: Any, /) -> None:
        self.model_fields_set.add("kind")  # said even where it is the class's own: what is not set is not sent


def all_arrays(message: Message) -> dict[str, NDArray[Any]]:
    """Everything of the message that is an array, by its name on the way; ``by_field`` is the other way round."""
    beside = {BESIDE + name: values for name, values in message.beside.items()}
    return {**message.weights, **message.packed, **beside}


def by_field(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The fields of a message that are arrays. ValueError where something packed stands beside the weights."""
    fields: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in ARRAYS}
    for name, values in arrays.items():
        packed, beside = values.dtype == np.uint8, name.startswith(BESIDE)
        if packed and beside:
            raise ValueError(f"{name} is packed, expected float32")
        fields["packed" if packed else "beside" if beside else "weights"][name.removeprefix(BESIDE)] = values
    return fields


class Task(Message):
    """One request to one hospital. ``round`` is the round that the work belongs to.

    ``run`` names one run of the experiment, for ever. ``experiment`` is it as JSON, empty where nothing depends on it.
    """

    experiment: Annotated[str, Field(max_length=4 << 20)] = ""
    run: Mark = ""
    deadline: Positive = 0.0  # Unix seconds after which the server no longer waits; 0: it waits without end
    acknowledged: Annotated[tuple[Mark, ...], Field(max_length=10_000)] = ()  # earlier tasks whose replies have arrived
    audit_head: Mark = ""  # newest hash of the server's audit log
    consortium_head: Mark = ""  # and of the consortium's own
    egress_head: Mark = ""  # newest hash of the site's own log that the server has seen
    by_address: bool = False  # segments travel beside the message, both ways (objects.py)

    @property
    def id(self) -> str:
        """The same for the same work, however often it is sent."""
        model, splits = getattr(self, "model_sha256", ""), getattr(self, "splits", ())
        parts = (self.run, self.kind, self.site, self.round, model, splits)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Asked(Task):
    """What a task says of itself to who only hands it on."""

    model_config = ConfigDict(extra="ignore")

    model_sha256: Mark = ""
    splits: Annotated[tuple[Mark, ...], Field(max_length=3)] = ()


class Reply(Message):
    """A hospital's answer, to be read as one of its kind (replies.py). With ``error``, one line in words, and with
    ``lacking``, segments of the model that did not come and are not held, nothing was done and nothing else counts.
    ``undecided``: a person there has yet to agree; the task waits at the hospital, and DecisionTask asks about it."""

    task_id: Mark = ""  # Task.id of what is answered
    egress_head: Mark = ""  # newest hash of the site's log of what left the building; beside the text, see parcels.py
    error: Line | None = None
    lacking: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    undecided: bool = False
    address: str = Field(default="", exclude=True)  # of the parcel in which it came


def failed(task: Task, reason: str) -> Reply:
    """The reply in place of one that did not come or was refused."""
    return Reply(kind=task.kind, site=task.site, round=task.round, task_id=task.id, error=reason)
