"""What the server asks of a hospital and what the hospital answers, apart from how it is carried.

Carried by Flower as a ``RecordDict`` of one JSON text and one array a weight segment.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

TaskKind = Literal["describe", "train", "evaluate", "personalise", "statistics", "finish", "present"]
Segments = Mapping[str, NDArray[np.float32]]

_TEXT, _WEIGHTS, _JSON = "fedthorax", "weights", "json"


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
    acknowledged: tuple[str, ...] = ()  # ids of the site's earlier tasks whose replies have arrived
    audit_head: str = ""  # newest hash of the server's audit log
    egress_head: str = ""  # newest hash of the site's own log that the server has seen
    operating_points: dict[str, Any] = field(default_factory=dict)  # of ``evaluate``: OperatingPoints, or nothing
    own_round: int = 0  # whose part of the model that stays at the hospital goes with these weights; 0: none yet
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
    lacking: tuple[str, ...] = ()  # segments of the model that did not come and are not held; then nothing was done


def encode(message: Task | Reply, weights: ArrayRecord | None = None) -> RecordDict:
    """The message as Flower carries it; ``weights`` are the encoded weights where that was done before."""
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message) if f.name != "weights"}
    text = ConfigRecord({_JSON: json.dumps(fields, allow_nan=False)})
    return RecordDict({_TEXT: text, _WEIGHTS: encode_weights(sent_weights(message)) if weights is None else weights})


def sent_weights(message: Task | Reply) -> Segments:
    """The segments that travel with the message: of a task those that the hospital does not hold."""
    held = message.held if isinstance(message, Task) else ()
    return {name: values for name, values in message.weights.items() if name not in held}


def encode_weights(weights: Segments) -> ArrayRecord:
    """The weights as Flower carries them: a copy, which messages to several hospitals can share."""
    return ArrayRecord({name: Array(np.ascontiguousarray(values)) for name, values in weights.items()})


def decode_task(record: RecordDict) -> Task:
    """Raises ValueError when the record is not a task of this version."""
    fields = _fields(record, Task)
    for name in ("splits", "test_digests", "acknowledged", "held"):
        fields[name] = _listed(fields, name, "task")
    return Task(**fields)


def decode_reply(record: RecordDict) -> Reply:
    """Raises ValueError when the record is not a reply of this version."""
    fields = _fields(record, Reply)
    fields["lacking"] = _listed(fields, "lacking", "reply")
    return Reply(**fields)


def num_bytes(record: RecordDict) -> int:
    """Payload of a message: its arrays and its text."""
    arrays = sum(len(array.data) for values in record.array_records.values() for array in values.values())
    return arrays + sum(len(str(config.get(_JSON, "")).encode()) for config in record.config_records.values())


def _listed(fields: Mapping[str, Any], name: str, kind: str) -> tuple[Any, ...]:
    if not isinstance(fields[name], list):
        raise ValueError(f"not a FedThorax {kind}: {name} must be a list, got {fields[name]!r}")
    return tuple(fields[name])


def _fields(record: RecordDict, kind: type) -> dict[str, Any]:
    expected = {f.name for f in dataclasses.fields(kind)}
    try:
        fields: dict[str, Any] = json.loads(str(record.config_records[_TEXT][_JSON]))
        fields["weights"] = {name: array.numpy() for name, array in record.array_records[_WEIGHTS].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a FedThorax {kind.__name__.lower()}: {error!r}") from error
    if set(fields) != expected:
        odd = ", ".join(sorted(set(fields) ^ expected))
        raise ValueError(f"a {kind.__name__.lower()} of another version of FedThorax: it differs in {odd}")
    return fields
