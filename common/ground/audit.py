"""An append-only log in which every line vouches for the one before it.

A line is a JSON object: ``sequence`` from 0, ``time`` (ISO 8601, UTC), ``event``, ``facts``, ``previous`` (the hash of
the line before, 64 zeros for the first) and ``hash``, the SHA-256 of the canonical JSON of all the others. Changing,
removing, inserting or reordering a line breaks the chain there. Cutting lines off the end does not: whoever needs to
know that must keep the last hash somewhere else, for which ``append`` returns it.

The file is locked with POSIX's ``flock`` while a line is added, so several processes may append to one log.
"""

import datetime
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fedthorax.common.ground.strict_json import canonical_json, plain_value

_FIRST = "0" * 64
_KEYS = {"sequence", "time", "event", "facts", "previous", "hash"}


class AuditLog:
    """The log at ``path``; the file is made with the first line. An existing log is continued."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: str, **facts: Any) -> str:
        """Add a line, on disk when this returns, and return its hash.

        ValueError if a fact cannot be written as JSON or if the last line of the file is damaged. OSError where the
        line cannot be written (a full disk): then nothing of it stays, and the log can go on once there is room.
        """
        values = plain_value(facts, "facts")
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        with os.fdopen(descriptor, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last = _last_line(file.fileno())
            sequence, previous = 0, _FIRST
            if last is not None:
                try:
                    entry = json.loads(last)
                    sequence, previous = int(entry["sequence"]) + 1, str(entry["hash"])
                    intact = last.endswith(b"\n") and _hash(entry) == previous
                except (ValueError, KeyError, TypeError):
                    intact = False
                if not intact:
                    raise ValueError(f"{self.path}: the last line is damaged; keep the file and start a new log")
            entry = {
                "sequence": sequence,
                "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                "event": event,
                "facts": values,
                "previous": previous,
            }
            entry["hash"] = _hash(entry)
            _write_whole(file.fileno(), canonical_json(entry).encode() + b"\n")
        return str(entry["hash"])

    def head(self) -> str:
        """Hash of the last line; 64 zeros where there is none. ValueError if that line is damaged."""
        if not self.path.is_file():
            return _FIRST
        with self.path.open("rb") as file:
            last = _last_line(file.fileno())
        try:
            return _FIRST if last is None else str(json.loads(last)["hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: the last line is damaged; keep the file and start a new log") from error

    def mend(self) -> None:
        """Take a half-written last line off the log (a full disk, a power cut) and write down that it was there.

        Only a line without its line end is taken off: such a line was never an entry, ``append`` had not returned.
        """
        if not self.path.is_file():
            return
        with self.path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last = _last_line(file.fileno())
            if last is None or last.endswith(b"\n"):
                return
            file.truncate(os.fstat(file.fileno()).st_size - len(last))
        self.append("half-written line taken off", text=last[:2000].decode(errors="replace"))


def verify(path: Path) -> None:
    """Check every line; ValueError names the first one that breaks the chain."""
    previous = _FIRST
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            fault = _fault(line, number - 1, previous)
            if fault:
                raise ValueError(f"{path}: line {number} {fault}")
            previous = json.loads(line)["hash"]


def _fault(line: bytes, sequence: int, previous: str) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return "is not JSON"
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        return f"must have the keys {', '.join(sorted(_KEYS))}"
    if _hash(entry) != entry["hash"]:
        return "was changed after it was written: its hash does not match"
    if entry["sequence"] != sequence or entry["previous"] != previous:
        return "does not follow the line before it: a line was removed, inserted or moved"
    if not line.endswith(b"\n"):
        return "is cut off"
    return None


def _hash(entry: dict[str, Any]) -> str:
    content = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _write_whole(descriptor: int, line: bytes) -> None:
    """The line on disk, or an OSError and the file as it was."""
    end = os.fstat(descriptor).st_size
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _last_line(descriptor: int) -> bytes | None:
    """The last line with its line end, read from the back so that a long log costs nothing; None if there is none."""
    end = os.fstat(descriptor).st_size
    tail = b""
    while end > 0 and tail.count(b"\n", 0, max(len(tail) - 1, 0)) == 0:
        start = max(0, end - 65536)
        tail = os.pread(descriptor, end - start, start) + tail
        end = start
    return tail.splitlines(keepends=True)[-1] if tail else None
