"""A parcel over the worker's socket: its manifest, then its bytes in parts."""

from collections.abc import Iterator
from typing import Any

from fedthorax.common.wire.parcel import Parcel, parcel_of, read_manifest

PART_BYTES = 1 << 20  # gRPC refuses messages above 4 MiB


def parts_of(parcel: Parcel) -> Iterator[dict[str, Any]]:
    """The parcel as the parts of ``site_worker.proto``, each as the fields of a Part: put into an Update as a message,
    it would be copied once more."""
    yield {"header": {"manifest": parcel.manifest, "stamp": parcel.stamp}}
    for piece in parcel.pieces(PART_BYTES):
        yield {"data": bytes(piece)}


class Assembly:
    """Puts a parcel together from its parts, with one copy. ValueError on too much or too little."""

    def __init__(self, header: Any, largest: int) -> None:
        self._header, self._manifest = header, read_manifest(header.manifest)
        self._size = self._manifest.text_bytes + self._manifest.data_bytes
        if self._size > largest:
            raise ValueError(f"a message of {self._size} bytes; at most {largest} are taken")
        self._text, self._pieces, self._filled = b"", list[bytes](), 0

    def add(self, data: bytes) -> None:
        self._filled += len(data)
        if self._filled > self._size:
            raise ValueError(f"more data than the {self._size} bytes that the header announced")
        left = self._manifest.text_bytes - len(self._text)
        self._text += data[:left]
        self._pieces.append(data[left:] if left else data)

    def parcel(self) -> Parcel:
        if self._filled != self._size:
            raise ValueError(f"the message ends after {self._filled} of {self._size} bytes")
        return parcel_of(self._header.manifest, self._text, b"".join(self._pieces), self._header.stamp)
