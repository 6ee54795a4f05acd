"""A message as bytes: a text, and segments of weights, each named by the SHA-256 of its bytes.

It is made once. Flower's record, the worker's socket, the store of replies and the log of what left a hospital hold
these same bytes, and the hash of the manifest, which names all of them, is their common address.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from fedthorax.common.ground.fields import one_line
from fedthorax.common.ground.frozen import Frozen

Arrays = Mapping[str, NDArray[Any]]
View = memoryview

MOST_SEGMENTS = 64
MOST_MANIFEST = 1 << 16  # bytes
_FLOAT, _BYTE = np.dtype("<f4"), np.dtype("u1")
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Bytes = Annotated[int, Field(ge=0, le=1 << 40)]


class Entry(Frozen):
    """One segment: float32 values, or the bytes of a ``packed`` one."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[ -~]+$")]
    bytes: _Bytes
    packed: bool
    sha256: _Sha256


class Manifest(Frozen):
    """Says what follows it, in order: the text, then the segments, float32 before packed so that values lie aligned."""

    text_bytes: _Bytes
    text_sha256: _Sha256
    segments: Annotated[tuple[Entry, ...], Field(max_length=MOST_SEGMENTS)]

    @model_validator(mode="after")
    def _in_order(self) -> "Manifest":
        if len({entry.name for entry in self.segments}) < len(self.segments):
            raise ValueError("a segment stands there twice")
        if [entry.packed for entry in self.segments] != sorted(entry.packed for entry in self.segments):
            raise ValueError("the packed segments must come last")
        if any(entry.bytes % _FLOAT.itemsize for entry in self.segments if not entry.packed):
            raise ValueError("a segment is not a whole number of float32 values")
        return self

    @property
    def data_bytes(self) -> int:
        return sum(entry.bytes for entry in self.segments)


@dataclass(frozen=True)
class Parcel:
    """``manifest`` as JSON, ``text``, and a view of the bytes of each segment in the manifest's order: none in a parcel
    that travels ``light``, beside its segments. ``stamp`` is put on from outside once the parcel is closed: the head of
    the log that names its address."""

    manifest: bytes
    text: bytes
    data: tuple[View, ...] = ()
    stamp: str = ""

    @cached_property
    def contents(self) -> Manifest:
        return read_manifest(self.manifest)

    @cached_property
    def address(self) -> str:
        """SHA-256 of the manifest: it names every byte of the parcel."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def light(self) -> bool:
        """Whether its segments have yet to come."""
        return not self.data and bool(self.contents.segments)

    def without_data(self) -> "Parcel":
        return replace(self, data=())

    def with_data(self, data: Mapping[str, View]) -> "Parcel":
        """The parcel with its segments, by their hash. ValueError where one is missing or of another size."""
        views = []
        for entry in self.contents.segments:
            view = data.get(entry.sha256)
            if view is None or len(view) != entry.bytes:
                came = "nothing" if view is None else f"{len(view)} bytes"
                raise ValueError(f"segment {entry.name}: {came} came, {entry.bytes} bytes were announced")
            views.append(view)
        return replace(self, data=tuple(views))

    @property
    def num_bytes(self) -> int:
        return len(self.manifest) + len(self.text) + sum(len(view) for view in self.data)

    def joined(self) -> bytes:
        """The segments in one run of bytes; no copy of those that have come as one."""
        whole = self.data[0].obj if self.data else b""
        if isinstance(whole, bytes) and len(whole) == self.contents.data_bytes:
            return whole
        return b"".join(self.data)

    def pieces(self, most: int) -> Iterator[View]:
        """Text and segments in pieces of at most ``most`` bytes."""
        for view in (memoryview(self.text), *self.data):
            for start in range(0, len(view), most):
                yield view[start : start + most]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The segments by name, as views."""
        return {
            entry.name: np.frombuffer(view, _BYTE if entry.packed else _FLOAT)
            if len(view)
            else np.empty(0, _BYTE if entry.packed else _FLOAT)
            for entry, view in zip(self.contents.segments, self.data, strict=True)
        }

    def require_intact(self) -> None:
        """ValueError that names the text or the segment whose bytes have another hash than the manifest says."""
        if hashlib.sha256(self.text).hexdigest() != self.contents.text_sha256:
            raise ValueError("the text has another hash than the manifest says")
        for entry, view in zip(self.contents.segments, self.data, strict=True):
            if hashlib.sha256(view).hexdigest() != entry.sha256:
                raise ValueError(f"segment {entry.name} has another hash than the manifest says")


def pack_parcel(text: bytes, cargo: "Cargo") -> Parcel:
    """``cargo`` may be shared by parcels to several hospitals."""
    digest = hashlib.sha256(text).hexdigest()
    manifest = Manifest(text_bytes=len(text), text_sha256=digest, segments=cargo.entries)
    return Parcel(manifest.model_dump_json().encode(), text, cargo.views)


@dataclass(frozen=True)
class Cargo:
    """The segments of a parcel, each hashed once."""

    entries: tuple[Entry, ...]
    views: tuple[View, ...]

    @classmethod
    def of(cls, arrays: Arrays) -> "Cargo":
        """uint8 arrays are packed segments, all others become float32."""
        kinds = {name: _BYTE if values.dtype == _BYTE else _FLOAT for name, values in arrays.items()}
        ordered = sorted(kinds, key=lambda name: kinds[name] == _BYTE)
        views = tuple(_bytes_of(np.ascontiguousarray(arrays[name], kinds[name])) for name in ordered)
        entries = tuple(
            Entry(
                name=name,
                bytes=len(view),
                packed=kinds[name] == _BYTE,
                sha256=hashlib.sha256(view).hexdigest(),
            )
            for name, view in zip(ordered, views, strict=True)
        )
        return cls(entries, views)


def read_manifest(text: bytes) -> Manifest:
    """ValueError in one line where it is none."""
    if len(text) > MOST_MANIFEST:
        raise ValueError(f"a manifest of {len(text)} bytes; at most {MOST_MANIFEST} are read")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(one_line(f"not a manifest: {place}: {first['msg']}", 300)) from None


def parcel_of(manifest: bytes, text: bytes, data: bytes | None, stamp: str = "") -> Parcel:
    """A parcel that has arrived, a light one where ``data`` is None. ValueError unless text and data have the sizes
    that the manifest says."""
    contents = read_manifest(manifest)
    came = {"text": (len(text), contents.text_bytes)}
    if data is not None:
        came["segments"] = (len(data), contents.data_bytes)
    for what, (size, told) in came.items():
        if size != told:
            raise ValueError(f"{size} bytes of {what}; {told} were announced")
    if data is None:
        return Parcel(manifest, text, (), stamp)
    views, start = [], 0
    for entry in contents.segments:
        views.append(memoryview(data)[start : start + entry.bytes])
        start += entry.bytes
    return Parcel(manifest, text, tuple(views), stamp)


def _bytes_of(values: NDArray[Any]) -> View:
    return values.data.cast("B") if values.size else memoryview(b"")
