"""A parcel over the worker's socket: its manifest, then its bytes in parts (protocol.py)."""

from collections.abc import Iterator

from fedthorax.client.site.protocol import DATA, HEADER, LIGHT
from fedthorax.common.wire.parcel import Parcel, View, parcel_of, read_manifest

PART_BYTES = 1 << 20  # gRPC refuses messages above 4 MiB


def parts_of(parcel: Parcel) -> Iterator[bytes]:
    """The parcel as messages; each byte is copied once."""
    yield (LIGHT if parcel.light else HEADER) + parcel.stamp.encode() + b"\n" + parcel.manifest
    for piece in parcel.pieces(PART_BYTES):
        yield b"".join((DATA, piece))


class Assembly:
    """Puts a parcel together from its messages, with one copy. ValueError on too much or too little, or where the first
    one is no header."""

    def __init__(self, first: bytes, largest: int) -> None:
        if not first.startswith((HEADER, LIGHT)):
            raise ValueError("expected a header as the first part")
        stamp, _, self._header = first[len(HEADER) :].partition(b"\n")
        self._stamp, self._manifest = stamp.decode("ascii", "replace"), read_manifest(self._header)
        self._size = self._manifest.text_bytes + self._manifest.data_bytes
        if self._size > largest:
            raise ValueError(f"a message of {self._size} bytes; at most {largest} are taken")
        self._light = first.startswith(LIGHT)
        if self._light:
            self._size = self._manifest.text_bytes
        self._text, self._pieces, self._filled = b"", list[View](), 0

    def add(self, part: bytes) -> None:
        if not part.startswith(DATA):
            raise ValueError("expected data after the header")
        data = memoryview(part)[len(DATA) :]
        self._filled += len(data)
        if self._filled > self._size:
            raise ValueError(f"more data than the {self._size} bytes that the header announced")
        left = self._manifest.text_bytes - len(self._text)
        self._text += data[:left]
        self._pieces.append(data[left:])

    def parcel(self) -> Parcel:
        if self._filled != self._size:
            raise ValueError(f"the message ends after {self._filled} of {self._size} bytes")
        data = None if self._light else b"".join(self._pieces)
        return parcel_of(self._header, self._text, data, self._stamp)
