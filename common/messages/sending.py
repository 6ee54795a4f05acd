"""Messages as bytes: closed into a parcel once, and carried by Flower as it is.

Flower asks for every array and every record of a message in a request of its own, which costs more than the bytes of a
small one: so there is one record of texts, and where segments travel inside one array of bytes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedthorax.common.messages.message import Reply, Task, all_arrays
from fedthorax.common.wire.parcel import Arrays, Cargo, Parcel, pack_parcel, parcel_of

if TYPE_CHECKING:  # a hospital's worker needs no Flower, which takes a quarter of a second to import
    from flwr.app import ArrayRecord, RecordDict

_TEXT, _WEIGHTS = "fedthorax", "weights"
_MANIFEST, _MESSAGE, _STAMP = "manifest", "message", "stamp"
_RAW = "raw"  # how Flower is told that the array is what it says, bytes


def closed(message: Task | Reply, cargo: Cargo | None = None) -> Parcel:
    """The message as a parcel; ``cargo`` is its segments where these are hashed already. What a reply says of the log
    that names it is left out: it is not known before."""
    beside = {"egress_head"} if isinstance(message, Reply) else None
    text = message.model_dump_json(exclude=beside, exclude_unset=True)
    return pack_parcel(text.encode(), cargo or Cargo.of(all_arrays(message)))


@dataclass(frozen=True)
class Payload:
    """Segments that messages to several hospitals can share."""

    cargo: Cargo

    @classmethod
    def of(cls, arrays: Arrays) -> "Payload":
        return cls(Cargo.of(arrays))

    @cached_property
    def record(self) -> "ArrayRecord":
        """As Flower carries them: a copy."""
        return _array_record(b"".join(self.cargo.views))


def to_flower(parcel: Parcel, payload: Payload | None = None) -> "RecordDict":
    """``payload`` holds the parcel's segments where they have been put together already."""
    from flwr.app import ConfigRecord, RecordDict

    texts = ConfigRecord({_MANIFEST: parcel.manifest, _MESSAGE: parcel.text, _STAMP: parcel.stamp})
    if not parcel.data:
        return RecordDict({_TEXT: texts})
    return RecordDict({_TEXT: texts, _WEIGHTS: payload.record if payload else _array_record(parcel.joined())})


def from_flower(record: "RecordDict") -> Parcel:
    """Raises ValueError where the record holds no parcel."""
    try:
        texts = record.config_records[_TEXT]
        manifest, text, stamp = texts[_MANIFEST], texts[_MESSAGE], texts[_STAMP]
        data = record.array_records[_WEIGHTS][_WEIGHTS].data if _WEIGHTS in record.array_records else None
    except KeyError as error:
        raise ValueError(f"not a message of this version of FedThorax: it lacks {error}") from None
    if not (isinstance(manifest, bytes) and isinstance(text, bytes) and isinstance(stamp, str)):
        raise ValueError("not a message of this version of FedThorax: its texts are of other types")
    return parcel_of(manifest, text, data, stamp)


def num_bytes(record: "RecordDict") -> int:
    """Payload of a message: its arrays and its texts."""
    arrays = sum(len(array.data) for values in record.array_records.values() for array in values.values())
    texts = (value for config in record.config_records.values() for value in config.values())
    return arrays + sum(len(text) for text in texts if isinstance(text, (bytes, str)))


def _array_record(data: bytes) -> "ArrayRecord":
    from flwr.app import Array, ArrayRecord

    return ArrayRecord({_WEIGHTS: Array(dtype="uint8", shape=(len(data),), stype=_RAW, data=data)})
