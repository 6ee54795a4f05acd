"""Who may call the gateway: the admitted hospitals, recognised by what their SuperNode signs."""

import base64
import binascii
import datetime
import json
import time
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.common.consortium.keys import fingerprint, parse_public_key
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.server.consortium.control import node_key
from fedthorax.server.consortium.folder import ConsortiumFolder, read_hospitals

# Flower's own headers: the key in PEM and its signature of the timestamp, both in base64.
KEY_HEADER, TIME_HEADER, SIGNATURE_HEADER = b"flwr-public-key", b"flwr-timestamp", b"flwr-signature"
CLOCK_TOLERANCE_SECONDS = 300  # as the SuperLink has it
_SEEN_SECONDS = 5  # how often last_seen.json is written at most
_REFUSALS_LOGGED = 1000  # strangers must not be able to fill the disk


class Members:
    """The list of hospitals as the gateway needs it: read again whenever hospitals.json was replaced."""

    def __init__(self, folder: ConsortiumFolder) -> None:
        self._folder = folder
        self._version: tuple[int, int] | None = None
        self._admitted: dict[bytes, tuple[str, ec.EllipticCurvePublicKey]] = {}
        self._shut_out: dict[bytes, str] = {}
        self._seen = read_last_seen(folder)
        self._seen_written = 0.0
        self._refusals: set[str] = set()
        self._read()

    def identify(self, headers: Mapping[bytes, bytes]) -> str:
        """The name of the hospital whose key signed the timestamp just now; PermissionError with the reason if none."""
        self._read()
        try:
            key = base64.b64decode(headers[KEY_HEADER], validate=True)
            signature = base64.b64decode(headers[SIGNATURE_HEADER], validate=True)
            stamp = headers[TIME_HEADER]
            signed_at = datetime.datetime.fromisoformat(stamp.decode("ascii"))
            behind = (datetime.datetime.now(datetime.UTC) - signed_at).total_seconds()
        except (KeyError, ValueError, TypeError, binascii.Error):
            raise PermissionError("no valid SuperNode authentication") from None
        if key not in self._admitted:
            self._note_refusal(key)
            raise PermissionError("this key does not belong to an admitted hospital")
        name, public = self._admitted[key]
        try:
            public.verify(signature, stamp, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise PermissionError("no valid SuperNode authentication") from None
        if abs(behind) > CLOCK_TOLERANCE_SECONDS:
            raise PermissionError(
                f"the hospital's clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} the server's; "
                f"at most {CLOCK_TOLERANCE_SECONDS} s are allowed"
            )
        self._note_seen(name)
        return name

    def _read(self) -> None:
        status = self._folder.hospitals.stat()
        version = (status.st_mtime_ns, status.st_ino)
        if version == self._version:
            return
        hospitals = read_hospitals(self._folder)
        self._admitted = {
            node_key(h.public_key): (h.name, parse_public_key(h.public_key)) for h in hospitals if not h.revoked
        }
        gone = [(h.name, key) for h in hospitals for key in (*h.former_keys, *([h.public_key] if h.revoked else ()))]
        self._shut_out = {node_key(key): name for name, key in gone}
        self._version = version

    def _note_seen(self, name: str) -> None:
        now = time.time()
        first = name not in self._seen
        self._seen[name] = now
        if first or now - self._seen_written >= _SEEN_SECONDS:
            self._seen_written = now
            write_text(self._folder.last_seen, json.dumps(self._seen, ensure_ascii=False) + "\n")

    def _note_refusal(self, key: bytes) -> None:
        """One line in the audit log for each key, not one for each try."""
        mark = _mark(key)
        if mark in self._refusals or len(self._refusals) >= _REFUSALS_LOGGED:
            return
        self._refusals.add(mark)
        owner = self._shut_out.get(key)
        reason = "the key is not admitted" if owner is None else "the key was revoked or given up"
        self._folder.audit.append("connection_refused", fingerprint=mark, name=owner, reason=reason)


def read_last_seen(folder: ConsortiumFolder) -> dict[str, float]:
    """Unix seconds of each hospital's last accepted call, written by the gateway; empty before the first."""
    try:
        value = json.loads(folder.last_seen.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {name: float(seconds) for name, seconds in value.items()}


def _mark(key: bytes) -> str:
    """The key's fingerprint, or what it looks like if it is no key."""
    from cryptography.hazmat.primitives import serialization

    try:
        public = serialization.load_pem_public_key(key)
        text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return fingerprint(text.decode("ascii"))
    except (ValueError, TypeError):
        return f"not a key ({len(key)} bytes)"
