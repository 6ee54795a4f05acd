"""Who may call the gateway: the admitted hospitals, recognised by what their SuperNode signs."""

import base64
import binascii
import contextlib
import datetime
import hashlib
import json
import time
from collections.abc import Collection, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

from fedthorax.common.consortium.keys import fingerprint, node_key, parse_public_key
from fedthorax.common.consortium.objects import KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER
from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER, fits_call
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.server.consortium.folder import ConsortiumFolder, list_version, read_hospitals
from fedthorax.server.consortium.refusals import Refusals, key_mark

_SEEN_SECONDS = 5  # how often last_seen.json is written at most
KEPT_SECONDS = TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE  # a time may be ahead, and is good for so long then
MOST_OF_ONE = 20_000  # of one hospital in KEPT_SECONDS, 65 a second; about 2 MB


class Members:
    """The list of hospitals as the gateway needs it: read again whenever hospitals.json was replaced."""

    def __init__(self, folder: ConsortiumFolder, unbound_calls: Collection[str] = ()) -> None:
        """``unbound_calls``: of these hospitals also calls whose path and body are not signed. Not of all: whoever
        opens TLS could take the signature off the calls of those that do sign."""
        self._folder, self._unbound_calls = folder, unbound_calls
        self._version: tuple[int, int] | None = None
        self._admitted: dict[bytes, tuple[str, ec.EllipticCurvePublicKey]] = {}
        self._shut_out: dict[str, tuple[str, ec.EllipticCurvePublicKey]] = {}  # by the key's fingerprint
        self._seen = read_last_seen(folder)
        self._seen_written = 0.0
        self._refusals = Refusals(folder.audit)
        self._calls = SeenCalls()
        self._read()

    def identify(self, headers: Mapping[bytes, bytes], method: str, path: str, taken: bool = False) -> tuple[str, str]:
        """The name of the hospital whose key signed this call just now, and the SHA-256 that its body must have.

        PermissionError with the reason if there is none; BlockingIOError where the call has to be signed anew. The
        SHA-256 is "" where an unbound call is taken. ``taken``: the call is in already, and only looked at again.
        """
        self._read()
        self._refusals.tell_suppressed()
        try:
            key = base64.b64decode(headers[KEY_HEADER.encode()], validate=True)
            signature = base64.b64decode(headers[SIGNATURE_HEADER.encode()], validate=True)
            stamp = headers[TIME_HEADER.encode()].decode("ascii")
            signed_at = datetime.datetime.fromisoformat(stamp)
            behind = (datetime.datetime.now(datetime.UTC) - signed_at).total_seconds()
        except (KeyError, ValueError, TypeError, OverflowError, binascii.Error):
            raise PermissionError("no valid SuperNode authentication") from None
        if key not in self._admitted:
            mark = key_mark(key)
            if mark in self._shut_out and _signed(self._shut_out[mark][1], signature, stamp):
                self._refusals.shut_out(mark, self._shut_out[mark][0])
                raise PermissionError("this hospital's key was revoked or given up; the lead has to admit a new one")
            self._refusals.stranger(mark)
            raise PermissionError("this key does not belong to an admitted hospital")
        name, public = self._admitted[key]
        if not _signed(public, signature, stamp):
            raise PermissionError("no valid SuperNode authentication")
        _require_time(behind)
        digest = self._signed_body(headers, name, public, (stamp, method, path))
        if not taken:
            bound = (method, path, digest) if digest else ()  # else the same time would do for every path
            self._calls.take(name, signed_at.timestamp(), stamp, *bound)
        self._note_seen(name)
        return name, digest

    def _signed_body(
        self, headers: Mapping[bytes, bytes], name: str, public: ec.EllipticCurvePublicKey, call: tuple[str, str, str]
    ) -> str:
        digest, signed = (headers.get(header.encode(), b"") for header in (BODY_HEADER, CALL_HEADER))
        if not digest and not signed and name in self._unbound_calls:
            return ""
        if not digest or not signed:
            raise PermissionError(
                "the call's path and body are not signed; this server wants `fedthorax site start` of its own version"
            )
        try:
            text, signature = digest.decode("ascii"), base64.b64decode(signed, validate=True)
        except (ValueError, binascii.Error):
            text, signature = "", b""
        if not fits_call(public, signature, *call, text):
            raise PermissionError("the signature of the call's path and body does not fit")
        return text

    def _read(self) -> None:
        version = list_version(self._folder)
        if version == self._version:
            return
        hospitals = read_hospitals(self._folder)
        self._admitted = {
            node_key(h.public_key): (h.name, parse_public_key(h.public_key)) for h in hospitals if not h.revoked
        }
        gone = [(h.name, key) for h in hospitals for key in (*h.former_keys, *([h.public_key] if h.revoked else ()))]
        self._shut_out = {fingerprint(key): (name, parse_public_key(key)) for name, key in gone}
        self._version = version

    def _note_seen(self, name: str) -> None:
        now = time.time()
        first = name not in self._seen
        self._seen[name] = now
        if first or now - self._seen_written >= _SEEN_SECONDS:
            self._seen_written = now
            with contextlib.suppress(OSError):  # a full disk keeps nobody out; `server start` says that it is full
                write_text(self._folder.last_seen, json.dumps(self._seen, ensure_ascii=False) + "\n")


class SeenCalls:
    """The calls that the gateway has taken while their time is good: none is taken twice.

    Whoever sees one call, on a proxy that opens TLS say, could otherwise send it again to the letter for as long as
    Flower takes its time. A hospital's software signs each call anew, also one that it sends again.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()  # the clock may be set
        self._seen: dict[str, dict[bytes, float]] = {}  # by hospital, oldest first; when each came

    def take(self, hospital: str, signed_at: float, *call: str) -> None:
        """Note one call, by what was signed and not by the signature, which can be written in two ways.

        PermissionError where it was taken before; BlockingIOError where that cannot be known, and it has to be signed
        anew: it is older than this process (``signed_at`` in Unix seconds), or the hospital has made too many.
        """
        now, seen = time.monotonic(), self._seen.setdefault(hospital, {})
        while seen and now - next(iter(seen.values())) > KEPT_SECONDS:
            del seen[next(iter(seen))]
        mark = hashlib.sha256("\n".join(call).encode()).digest()[:16]
        if mark in seen:
            raise PermissionError("this call was made before; each has to be signed anew")
        if time.time() - signed_at > now - self._begun:
            raise BlockingIOError(
                "the call was signed before the gateway began, or by a clock that is behind; try again"
            )
        if len(seen) >= MOST_OF_ONE:
            raise BlockingIOError(f"more than {MOST_OF_ONE} calls within {KEPT_SECONDS:.0f} s; try again")
        seen[mark] = now


def _signed(public: ec.EllipticCurvePublicKey, signature: bytes, stamp: str) -> bool:
    try:
        public.verify(signature, stamp.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _require_time(behind: float) -> None:
    """PermissionError where the SuperLink would not take a time that is so many seconds behind its own."""
    if behind < -SYSTEM_TIME_TOLERANCE:
        what, most = f"{-behind:.0f} s ahead of", SYSTEM_TIME_TOLERANCE
    elif behind > TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
        what, most = f"{behind:.0f} s behind", TIMESTAMP_TOLERANCE
    else:
        return
    raise PermissionError(f"the hospital's clock is {what} the server's, more than {most} s: set it (NTP)")


def read_last_seen(folder: ConsortiumFolder) -> dict[str, float]:
    """Unix seconds of each hospital's last accepted call, written by the gateway; empty before the first."""
    try:
        value = json.loads(folder.last_seen.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {name: float(seconds) for name, seconds in value.items()}
