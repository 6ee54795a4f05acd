"""What the thin ClientApp and the site worker say to each other over gRPC. A message is bytes, the first of which says
what follows.

WORK: one task, one reply. Both travel alike: HEADER with the stamp (of a reply: the newest hash of the log of what
left), a line break and the parcel's manifest; then DATA, any number of times: together the text of the parcel and its
segments, in the order and of the sizes that the manifest says (common/wire/parcel.py). With LIGHT in place of HEADER
there is the text alone, and the segments travel as objects. The worker does one task at a time and answers one that it
has done before from its store. While the caller waits it hears PROGRESS, which says nothing else, at least every few
seconds.

WATCH: lines of the worker's event log, as JSON, until the caller hangs up. ALIVE: nothing, at once, whatever the worker
does: one that does not answer is ended by the supervisor.

The carrier (carrier.py), which has the hospital's key, asks WANT for the object that is wanted: a JSON object of the
fields of carriage.Want, or nothing after a while. TAKE brings bytes of it: first JSON with its ``sha256`` and the
``offset`` at which they begin, then they; the answer is how many are here. GIVE asks so for bytes of an object that is
to be delivered: first comes the SHA-256 of all that follows, then they. TELL says as JSON of a ``sha256`` how many
bytes are ``done``, and at last the ``outcome``.
"""

from collections.abc import Iterator

from fedthorax.common.wire.parcel import Parcel, View, parcel_of, read_manifest

SERVICE = "fedthorax.site.SiteWorker"
WORK, WATCH, ALIVE, WANT, TAKE, GIVE, TELL = (
    f"/{SERVICE}/{name}" for name in ("Work", "Watch", "Alive", "Want", "Take", "Give", "Tell")
)
HEADER, LIGHT, DATA, PROGRESS = b"H", b"L", b"D", b"P"
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
