"""One packed segment on its way: says what it is, what it is the difference to, and whether it arrived whole.

A pack is ``FTXPACK1``, the CRC-32 of all that follows the CRC, two lengths (header, body), a JSON header, and a body
of one or more Zstandard frames. Several packs may follow each other: the difference from one model to the next, and
from that to the one after it.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pydantic_core import from_json

Bytes = NDArray[np.uint8]
Span = tuple[int, int]

_MAGIC = b"FTXPACK1"
_LENGTHS = np.dtype("<u4")
_FIXED = len(_MAGIC) + 3 * _LENGTHS.itemsize
_LEVEL = 1  # higher levels look for repetitions, of which updates have none, and pack them worse
MOST_VALUES = 1 << 28  # of a segment, as a damaged or hostile header could claim any number
MOST_HEADER = 1 << 16  # bytes
MOST_PARTS = 3


@dataclass(frozen=True)
class Header:
    """``base`` is the SHA-256 of the segment that the body is the difference to, empty where it stands for itself.

    ``exact`` are the runs of values, in order, that are packed without loss; all others are rounded as ``codec`` says.
    ``parts`` are the lengths of the body's Zstandard frames.
    """

    codec: str
    values: int
    base: str
    exact: tuple[Span, ...]
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Pack:
    """``size`` is that of the whole pack in bytes."""

    header: Header
    body: memoryview
    size: int

    def parts(self) -> list[memoryview]:
        found, start = [], 0
        for length in self.header.parts:
            found.append(self.body[start : start + length])
            start += length
        return found


def write_pack(codec: str, values: int, base: str, exact: Sequence[Span], contents: Sequence[bytes]) -> Bytes:
    """A pack whose body is each of ``contents``, compressed."""
    parts = [compress(content) for content in contents]
    header = Header(codec, values, base, tuple(exact), tuple(map(len, parts)))
    text = json.dumps(asdict(header), separators=(",", ":")).encode()
    body = b"".join(parts)
    rest = np.array([len(text), len(body)], _LENGTHS).tobytes() + text + body
    pack = _MAGIC + np.array([zlib.crc32(rest)], _LENGTHS).tobytes() + rest
    return np.frombuffer(pack, np.uint8)


def read_packs(data: Bytes) -> Iterator[Pack]:
    """The packs in their order, none of them expanded. Raises ValueError where one is damaged, cut short, or none of
    ours."""
    view, start = memoryview(np.ascontiguousarray(data, np.uint8).data), 0
    if not len(view):
        raise ValueError("expected a packed segment, got nothing")
    while start < len(view):
        if bytes(view[start : start + len(_MAGIC)]) != _MAGIC:
            came = bytes(view[start : start + len(_MAGIC)])
            raise ValueError(f"at byte {start}: expected a packed segment ({_MAGIC.decode()}), got {came!r}")
        if len(view) - start < _FIXED:
            raise ValueError(f"at byte {start}: cut short, {len(view) - start} of at least {_FIXED} bytes came")
        checksum, header_bytes, body_bytes = map(
            int, np.frombuffer(view[start + len(_MAGIC) : start + _FIXED], _LENGTHS)
        )
        stop = start + _FIXED + header_bytes + body_bytes
        if stop > len(view):
            raise ValueError(f"at byte {start}: cut short, {len(view) - start} of {stop - start} bytes came")
        found = zlib.crc32(view[start + len(_MAGIC) + _LENGTHS.itemsize : stop])
        if found != checksum:
            raise ValueError(f"at byte {start}: damaged, its checksum is {found:08x}, expected {checksum:08x}")
        if header_bytes > MOST_HEADER:
            raise ValueError(f"at byte {start}: a header of {header_bytes} bytes; at most {MOST_HEADER} are read")
        text = bytes(view[start + _FIXED : start + _FIXED + header_bytes])
        yield Pack(_header(text, body_bytes), view[start + _FIXED + header_bytes : stop], stop - start)
        start = stop


def compress(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(content)


def expand(part: memoryview, expected: int) -> bytes:
    """``expected`` bytes out of ``part``. ValueError where it holds another number, before room is made for it."""
    try:
        size = zstandard.frame_content_size(part)
        if size != expected:
            raise ValueError(f"a part holds {size} bytes, expected {expected}")
        content = zstandard.ZstdDecompressor().decompress(part, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"a part cannot be expanded: {error}") from error
    return content


def spans_in(header: Header) -> int:
    """Number of values in the exact spans."""
    return sum(stop - start for start, stop in header.exact)


def _header(text: bytes, body_bytes: int) -> Header:
    try:
        fields: Any = from_json(text)  # gives up at 200 levels
        header = Header(
            str(fields["codec"]),
            _count(fields["values"], MOST_VALUES),
            str(fields["base"]),
            tuple((_count(start, MOST_VALUES), _count(stop, MOST_VALUES)) for start, stop in fields["exact"]),
            tuple(_count(length, body_bytes) for length in fields["parts"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its header cannot be read: {error!r}") from error
    if len(header.parts) > MOST_PARTS:
        raise ValueError(f"it has {len(header.parts)} parts, expected at most {MOST_PARTS}")
    if sum(header.parts) != body_bytes:
        raise ValueError(f"its parts have {sum(header.parts)} bytes, but {body_bytes} came")
    end = 0
    for start, stop in header.exact:
        if not end <= start <= stop <= header.values:
            raise ValueError(f"its exact values {start} to {stop} are not in order, or not among {header.values}")
        end = stop
    return header


def _count(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"expected a whole number from 0 to {most}, got {value!r}")
    return value
