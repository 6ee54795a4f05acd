"""Objects: bytes that travel beside Flower's messages, each named by its SHA-256 and belonging to one task of one
hospital; where they are called for, and how such a call is signed."""

import base64
import datetime
import hashlib
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER, sign_call

PREFIX = "/fedthorax/objects/"
HELD_HEADER = "fedthorax-held"  # of an answer about an upload: how many bytes are there
# Of a call, for the lead's display alone: bytes of the task's objects before this one, and of all of them.
WAY_HEADER = "fedthorax-way"
NO_BODY = hashlib.sha256().hexdigest()
# Flower's own headers: the key in PEM and its signature of the timestamp, both in base64.
KEY_HEADER, TIME_HEADER, SIGNATURE_HEADER = "flwr-public-key", "flwr-timestamp", "flwr-signature"
_PATH = re.compile(PREFIX + r"([0-9a-f]{32})/([0-9a-f]{64})/([0-9a-f]{64})")
_WAY = re.compile(r"(\d{1,15})/(\d{1,15})")
_RANGE = re.compile(r"bytes=(\d{1,15})-")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True)
class Place:
    """``run`` and ``task`` are ids, ``sha256`` names the object."""

    run: str
    task: str
    sha256: str

    @property
    def path(self) -> str:
        return f"{PREFIX}{self.run}/{self.task}/{self.sha256}"


def read_place(path: str) -> Place | None:
    found = _PATH.fullmatch(path)
    return Place(*found.groups()) if found else None


def range_from(offset: int) -> str:
    """The value of Range for all that follows ``offset``."""
    return f"bytes={offset}-"


def read_range(value: str) -> int | None:
    found = _RANGE.fullmatch(value)
    return int(found[1]) if found else None


def content_range(offset: int, total: int) -> str:
    """The value of Content-Range for all that follows ``offset``; of nothing where that is the end."""
    return f"bytes {offset}-{max(offset, total - 1)}/{total}"


def read_content_range(value: str) -> tuple[int, int] | None:
    """Offset and total of a body that goes to the object's end, None where it does not."""
    found = _CONTENT_RANGE.fullmatch(value)
    if found is None:
        return None
    first, last, total = map(int, found.groups())
    return (first, total) if first <= last == total - 1 else None


def way(before: int, total: int) -> str:
    return f"{before}/{total}"


def read_way(value: str) -> tuple[int, int] | None:
    found = _WAY.fullmatch(value)
    return (int(found[1]), int(found[2])) if found else None


def signed_path(path: str, part: str) -> str:
    """What is signed as the path of a call for ``part`` of an object, the value of its range: "" is the whole."""
    return f"{path} {part}" if part else path


def call_headers(
    key: ec.EllipticCurvePrivateKey, method: str, path: str, part: str, body_sha256: str
) -> dict[str, str]:
    """The headers of a call now: Flower's own authentication, and ours of the whole call."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    values = {
        KEY_HEADER: public,
        SIGNATURE_HEADER: key.sign(stamp.encode(), ec.ECDSA(hashes.SHA256())),
        CALL_HEADER: sign_call(key, stamp, method, signed_path(path, part), body_sha256),
    }
    encoded = {name: base64.b64encode(value).decode("ascii") for name, value in values.items()}
    return {**encoded, TIME_HEADER: stamp, BODY_HEADER: body_sha256}
