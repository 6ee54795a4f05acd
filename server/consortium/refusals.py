"""What the gateway writes down of those it turns away, so that nobody can fill the disk or hide behind others.

A key that was revoked or given up has a line a day of its own, whatever strangers do. Strangers share a number of lines
an hour; what they try beyond it is counted, and the count is written when the hour is over.
"""

import contextlib
import logging
import math
import time

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from fedthorax.common.consortium.keys import fingerprint
from fedthorax.common.ground.audit import AuditLog

STRANGERS_AN_HOUR = 50
_HOUR, _DAY = 3600.0, 86400.0
LOG_LINES_A_MINUTE = 20

_log = logging.getLogger("fedthorax.gateway")


class Refusals:
    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._shut_out: dict[str, float] = {}  # when each known key's last line was written
        self._strangers: set[str] = set()
        self._suppressed = 0
        self._hour_begun = time.monotonic()

    def shut_out(self, mark: str, name: str) -> None:
        """The key of this fingerprint was a hospital's, and whoever called holds it."""
        now = time.monotonic()
        if now - self._shut_out.get(mark, -math.inf) >= _DAY:
            self._shut_out[mark] = now
            self._write("connection_refused", fingerprint=mark, name=name, reason="the key was revoked or given up")

    def stranger(self, mark: str) -> None:
        if mark in self._strangers:
            return
        if len(self._strangers) >= STRANGERS_AN_HOUR:
            self._suppressed += 1
        else:
            self._strangers.add(mark)
            self._write("connection_refused", fingerprint=mark, name=None, reason="the key is not admitted")

    def tell_suppressed(self) -> None:
        """Called with every request: begins a new hour where the last one is over."""
        if time.monotonic() - self._hour_begun < _HOUR:
            return
        if self._suppressed:
            self._write("refusals_suppressed", tries=self._suppressed, reason="keys that are not admitted")
        self._strangers, self._suppressed, self._hour_begun = set(), 0, time.monotonic()

    def _write(self, event: str, **facts: object) -> None:
        try:
            self._audit.append(event, **facts)
        except (OSError, ValueError) as error:  # a full disk: the refusal stands all the same
            _log.warning("the audit log takes no line: %s", error)


class FewOfAKind(logging.Filter):
    """Lets LOG_LINES_A_MINUTE lines of one kind into the log, and says with the next minute's first how many were not:
    the log is turned over at 5 MiB, and a flood of one kind would carry all others out of it."""

    def __init__(self) -> None:
        super().__init__()
        self._minute = 0
        self._lines: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, minute = f"{record.name} {record.msg}", int(time.monotonic() // 60)
        if minute != self._minute:
            over = sum(max(count - LOG_LINES_A_MINUTE, 0) for count in self._lines.values())
            self._minute, self._lines = minute, {}
            if over:
                record.msg, record.args = f"({over} like lines before were left out) {record.getMessage()}", None
        self._lines[kind] = self._lines.get(kind, 0) + 1
        return self._lines[kind] <= LOG_LINES_A_MINUTE


def key_mark(key: bytes) -> str:
    """The key's fingerprint, or what it looks like if it is no key of the kind that hospitals have."""
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        public = serialization.load_pem_public_key(key)
        text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return fingerprint(text.decode("ascii"))
    return f"not a hospital's key ({len(key)} bytes)"
