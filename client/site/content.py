"""A task or a reply as bytes, without Flower: over the worker's socket in parts, in the worker's store as one file."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin, get_type_hints

from numpy.typing import NDArray

from fedthorax.client.site import protocol
from fedthorax.common.messages import ARRAYS, Reply, Task, all_arrays, by_field
from fedthorax.common.wire.payload import Extents, extents_of, in_order, num_bytes, split

Message = TypeVar("Message", Task, Reply)
PART_BYTES = 1 << 20  # gRPC refuses messages above 4 MiB


@dataclass(frozen=True)
class Content:
    """``text`` is the JSON of all fields but the arrays; ``arrays`` are in the order of common/wire/payload.py."""

    text: bytes
    arrays: Mapping[str, NDArray[Any]]

    @property
    def num_bytes(self) -> int:
        return len(self.text) + num_bytes(self.segments)

    @property
    def segments(self) -> Extents:
        return extents_of(self.arrays)

    def pieces(self) -> Iterator[memoryview]:
        """All bytes in order, in pieces of at most PART_BYTES."""
        for piece in (memoryview(self.text), *(values.data for values in self.arrays.values())):
            view = piece.cast("B")
            for start in range(0, len(view), PART_BYTES):
                yield view[start : start + PART_BYTES]


def content_of(message: Task | Reply) -> Content:
    """ValueError where a field cannot be written as JSON, a NaN among them."""
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message) if f.name not in ARRAYS}
    text = json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()
    return Content(text, in_order(all_arrays(message)))


def message_of(kind: type[Message], content: Content) -> Message:
    """The message again. ValueError when the text is not one of this version."""
    expected = {f.name for f in dataclasses.fields(kind)} - set(ARRAYS)
    try:
        fields: Any = json.loads(content.text)
    except ValueError as error:
        raise ValueError(f"not a {kind.__name__.lower()}: {error}") from error
    if not isinstance(fields, dict) or set(fields) != expected:
        odd = ", ".join(sorted(set(fields) ^ expected)) if isinstance(fields, dict) else "everything"
        raise ValueError(f"a {kind.__name__.lower()} of another version of FedThorax: it differs in {odd}")
    for name, hint in get_type_hints(kind).items():
        if get_origin(hint) is tuple:
            fields[name] = tuple(fields[name])
    return kind(**fields, **by_field(content.arrays))


def parts_of(message: Task | Reply) -> Iterator[Any]:
    """The message as the parts of ``site_worker.proto``."""
    content = content_of(message)
    segments = [
        protocol.Segment(name=name, num_values=count, packed=packed) for name, count, packed in content.segments
    ]
    yield protocol.Part(header=protocol.Header(json_bytes=len(content.text), segments=segments))
    for piece in content.pieces():
        yield protocol.Part(data=bytes(piece))


class Assembly:
    """Puts ``Content`` together from pieces, in memory that is reserved once. ValueError on too much or too little."""

    def __init__(self, json_bytes: int, segments: Extents, largest: int) -> None:
        size = json_bytes + num_bytes(segments)
        if size > largest:
            raise ValueError(f"a message of {size} bytes; at most {largest} are taken")
        self._segments, self._json_bytes = segments, json_bytes
        self._buffer, self._filled = bytearray(size), 0

    def add(self, data: bytes) -> None:
        end = self._filled + len(data)
        if end > len(self._buffer):
            raise ValueError(f"more data than the {len(self._buffer)} bytes that the header announced")
        self._buffer[self._filled : end] = data
        self._filled = end

    def content(self) -> Content:
        if self._filled != len(self._buffer):
            raise ValueError(f"the message ends after {self._filled} of {len(self._buffer)} bytes")
        arrays = split(self._buffer, self._segments, self._json_bytes)
        return Content(bytes(self._buffer[: self._json_bytes]), arrays)
