"""What the server asks of a hospital and what the hospital answers, apart from how it is carried.

Carried by Flower as a ``RecordDict`` of one JSON text and the bytes of all weight segments in one array: Flower asks
for every array and every record of a message in a request of its own, which costs more than the bytes of a small one.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.wire.payload import Extents, checked_extents, extents_of, in_order, split
from fedthorax.common.wire.segment import pack_whole

if TYPE_CHECKING:  # a hospital's worker needs no Flower, which takes a quarter of a second to import
    from flwr.app import ArrayRecord, RecordDict

TaskKind = Literal["describe", "train", "evaluate", "personalise", "statistics", "finish", "present"]
Segments = Mapping[str, NDArray[np.float32]]
PackedSegments = Mapping[str, NDArray[np.uint8]]

_TEXT, _WEIGHTS, _JSON, _SEGMENTS = "fedthorax", "weights", "json", "segments"
_RAW = "raw"  # how Flower is told that the array is what it says, bytes
ARRAYS = ("weights", "packed", "beside")
_BESIDE = "beside/"  # on the way, before the segment: no segment's name has a slash


@dataclass(frozen=True)
class Task:
    """One request to one hospital.

    ``describe``: report counts and which of ``test_digests`` (keyed by ``digest_key``) the hospital holds too.
    ``train``: score the incoming weights on the validation split, then train them for the phase.
    ``evaluate``: score the incoming weights on ``splits``, the test split at ``operating_points``.
    ``personalise``: fine-tune the incoming weights for this hospital alone and tell how good that is.
    ``statistics``: tell what the hospital's privacy policy allows; ``digest_key`` is the number of this query.
    ``finish``: keep the incoming weights as the models that ``outcome`` names; the reply carries nothing.
    ``present``: answer, no more. A SuperNode takes a message only when it has sent the reply to the one before, so the
    answer says that no other task is on its way or being worked on.
    ``round`` is the round that the work belongs to; the weights come from the round before.

    ``run`` names one run of the experiment, for ever; with round, site and ``model_sha256`` (the weights that the task
    starts from) it makes the task's identity, so that a task sent twice is known as one.
    """

    kind: TaskKind
    site: str
    round: int
    experiment: str  # the experiment as JSON
    weights: Segments = field(default_factory=dict)
    layout: str = ""  # SegmentLayout.digest of the sender
    phase: int = 0  # index into training.phases
    learning_rate: float = 0.0
    splits: tuple[str, ...] = ()
    test_digests: tuple[str, ...] = ()
    digest_key: str = ""  # hexadecimal
    run: str = ""
    model_sha256: str = ""  # weights_digest of the whole model
    sha256: dict[str, str] = field(default_factory=dict)  # segment_sha256 of every segment of the model
    held: tuple[str, ...] = ()  # segments that the hospital is expected to hold: they are not sent
    deadline: float = 0.0  # Unix seconds after which the server no longer waits; 0: it waits without end
    packed: PackedSegments = field(default_factory=dict)  # segments that travel as differences to what is held
    beside: Segments = field(default_factory=dict)  # of ``train``: what the algorithm tells, laid out as segments
    packs: bool = False  # whether segments that travel whole are packed too
    best: dict[str, str] = field(default_factory=dict)  # segment_sha256 of the best model so far, to go on holding
    acknowledged: tuple[str, ...] = ()  # ids of the site's earlier tasks whose replies have arrived
    audit_head: str = ""  # newest hash of the run's audit log at the server
    consortium_head: str = ""  # and of the consortium's own
    egress_head: str = ""  # newest hash of the site's own log that the server has seen
    operating_points: dict[str, Any] = field(default_factory=dict)  # of ``evaluate``: OperatingPoints, or nothing
    own_round: int = (
        0  # the last round whose update of this hospital counted: what it keeps goes on from there; 0: none
    )
    outcome: dict[str, Any] = field(default_factory=dict)  # of ``finish``: what server/delivery.py puts in

    @property
    def id(self) -> str:
        """The same for the same work, however often it is sent."""
        parts = (self.run, self.kind, self.site, self.round, self.model_sha256, self.splits)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """A hospital's answer. ``error`` is one line in words; then nothing else of the reply counts.

    ``results`` is JSON: what each kind of task puts in is said in the site worker. ``num_pairs`` weighs the update.
    """

    kind: TaskKind
    site: str
    round: int
    results: dict[str, Any] = field(default_factory=dict)
    weights: Segments = field(default_factory=dict)
    num_pairs: int = 0
    counts: dict[str, Any] = field(default_factory=dict)  # what weighs each part of the update; branch_counts fills it
    error: str | None = None
    task_id: str = ""  # Task.id of what is answered
    egress_head: str = ""  # newest hash of the site's log of what left the building
    packed: PackedSegments = field(default_factory=dict)  # of the update, in place of ``weights``
    beside: Segments = field(default_factory=dict)  # what the algorithm sends with the update, laid out as segments
    lacking: tuple[str, ...] = ()  # segments of the model that did not come and are not held; then nothing was done


@dataclass(frozen=True)
class Payload:
    """The weights of a message as Flower carries them: a copy, which messages to several hospitals can share."""

    extents: Extents
    record: "ArrayRecord"


def payload_of(message: Task | Reply) -> Payload:
    """Of a task that ``packs`` what travels whole is packed without loss."""
    from flwr.app import Array, ArrayRecord

    arrays = sent_arrays(message)
    if isinstance(message, Task) and message.packs:
        whole = {name for name, each in arrays.items() if name in message.weights and each.dtype == np.float32}
        arrays = {name: pack_whole(each) if name in whole else each for name, each in arrays.items()}
    ordered = in_order(arrays)
    data = b"".join(values.data.cast("B") for values in ordered.values() if len(values))
    array = Array(dtype="uint8", shape=(len(data),), stype=_RAW, data=data)
    return Payload(extents_of(ordered), ArrayRecord({_WEIGHTS: array} if ordered else {}))


def encode(message: Task | Reply, payload: Payload | None = None) -> "RecordDict":
    """The message as Flower carries it; ``payload`` is its ``payload_of`` where that is there already."""
    from flwr.app import ConfigRecord, RecordDict

    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message) if f.name not in ARRAYS}
    payload = payload or payload_of(message)
    texts = ConfigRecord({_JSON: json.dumps(fields, allow_nan=False), _SEGMENTS: json.dumps(payload.extents)})
    return RecordDict({_TEXT: texts, _WEIGHTS: payload.record})


def sent_arrays(message: Task | Reply) -> dict[str, NDArray[Any]]:
    """What travels with the message for each segment: of a task nothing for those that the hospital holds, and a packed
    difference where there is one."""
    held = message.held if isinstance(message, Task) else ()
    return {name: values for name, values in all_arrays(message).items() if name not in held}


def all_arrays(message: Task | Reply) -> dict[str, NDArray[Any]]:
    """Everything of the message that is an array, by its name on the way; ``by_field`` is the other way round."""
    beside = {_BESIDE + name: values for name, values in message.beside.items()}
    return {**message.weights, **message.packed, **beside}


def by_field(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The fields of a message that are arrays. ValueError where something packed stands beside the weights."""
    fields: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in ARRAYS}
    for name, values in arrays.items():
        packed, beside = values.dtype == np.uint8, name.startswith(_BESIDE)
        if packed and beside:
            raise ValueError(f"{name} is packed, expected float32")
        fields["packed" if packed else "beside" if beside else "weights"][name.removeprefix(_BESIDE)] = values
    return fields


def decode_task(record: "RecordDict") -> Task:
    """Raises ValueError when the record is not a task of this version."""
    fields = _fields(record, Task)
    for name in ("splits", "test_digests", "acknowledged", "held"):
        fields[name] = _listed(fields, name, "task")
    return Task(**fields)


def decode_reply(record: "RecordDict") -> Reply:
    """Raises ValueError when the record is not a reply of this version."""
    fields = _fields(record, Reply)
    fields["lacking"] = _listed(fields, "lacking", "reply")
    return Reply(**fields)


def num_bytes(record: "RecordDict") -> int:
    """Payload of a message: its arrays and its text."""
    arrays = sum(len(array.data) for values in record.array_records.values() for array in values.values())
    texts = (config.get(key, "") for config in record.config_records.values() for key in (_JSON, _SEGMENTS))
    return arrays + sum(len(str(text).encode()) for text in texts)


def _listed(fields: Mapping[str, Any], name: str, kind: str) -> tuple[Any, ...]:
    if not isinstance(fields[name], list):
        raise ValueError(f"not a FedThorax {kind}: {name} must be a list, got {fields[name]!r}")
    return tuple(fields[name])


def _fields(record: "RecordDict", kind: type) -> dict[str, Any]:
    expected = {f.name for f in dataclasses.fields(kind)}
    try:
        texts, arrived = record.config_records[_TEXT], record.array_records[_WEIGHTS]
        fields: dict[str, Any] = json.loads(str(texts[_JSON]))
        extents = checked_extents(json.loads(str(texts[_SEGMENTS])))
        arrays = split(arrived[_WEIGHTS].data if extents else b"", extents)
        fields |= by_field(arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a FedThorax {kind.__name__.lower()}: {error!r}") from error
    if set(fields) != expected:
        odd = ", ".join(sorted(set(fields) ^ expected))
        raise ValueError(f"a {kind.__name__.lower()} of another version of FedThorax: it differs in {odd}")
    return fields
