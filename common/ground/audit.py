"""An append-only log in which every line vouches for the one before it.

A line is a JSON object: ``sequence`` from 0, ``time`` (ISO 8601, UTC), ``event``, ``facts``, ``previous`` (the hash of
the line before, 64 zeros for the first) and ``hash``, the SHA-256 of the canonical JSON of all the others. Changing,
removing, inserting or reordering a line breaks the chain there. Cutting lines off the end does not: whoever needs to
know that must keep the last hash somewhere else, for which ``append`` returns it.

The file is locked with POSIX's ``flock`` while a line is added, so several processes may append to one log. A file of
MOST_BYTES is put aside under the number of its first line (``audit.000000000123.jsonl``) and the chain goes on in a new
one: ``verify`` and ``read_lines`` take all of them, in order.
"""

import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedthorax.common.ground.lock import take
from fedthorax.common.ground.strict_json import canonical_json, plain_value

MOST_BYTES = 32 << 20
_FIRST = "0" * 64
_TAIL_BYTES = 1 << 16
_FIELDS = {"sequence", "time", "event", "facts", "previous", "hash"}


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
        with os.fdopen(self._locked(), "rb+") as file:
            last = _last_line(file.fileno()) or self._last_put_aside()
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

    def _locked(self) -> int:
        """A descriptor of the present file, with its lock; one that is full is put aside first."""
        while True:
            descriptor = take(self.path, flags=os.O_APPEND)
            try:
                if os.fstat(descriptor).st_size < MOST_BYTES:
                    return descriptor
                first = int(json.loads(os.pread(descriptor, MOST_BYTES, 0).split(b"\n", 1)[0])["sequence"])
                self.path.rename(self.path.with_name(f"{self.path.stem}.{first:012d}{self.path.suffix}"))
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _last_put_aside(self) -> bytes | None:
        aside = [part for part in parts(self.path) if part != self.path]
        if not aside:
            return None
        with aside[-1].open("rb") as file:
            return _last_line(file.fileno())

    def head(self) -> str:
        """Hash of the last line; 64 zeros where there is none. ValueError if that line is damaged."""
        last = None
        if self.path.is_file():
            with self.path.open("rb") as file:
                last = _last_line(file.fileno())
        last = last or self._last_put_aside()
        try:
            return _FIRST if last is None else str(json.loads(last)["hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: the last line is damaged; keep the file and start a new log") from error

    def holds(self, head: str) -> bool:
        """Whether a line has this hash. The newest lines are looked through first, and that is nearly always all."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                # No fact can hold this text: its quotes would be escaped.
                if f'"hash":"{head}"'.encode() in file.read():
                    return True
        return any(entry["hash"] == head for entry in read_lines(self.path))

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


def parts(path: Path) -> list[Path]:
    """The files of the log at ``path``, oldest first."""
    aside = sorted(p for p in path.parent.glob(f"{path.stem}.*{path.suffix}") if p.suffixes[0][1:].isdecimal())
    return [*aside, *([path] if path.is_file() else [])]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The entries in order; none where there is no log."""
    for part in parts(path):
        with part.open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file)


def verify(path: Path) -> int:
    """Check every line and return their number; ValueError names the first one that breaks the chain."""
    previous, count = _FIRST, 0
    if not parts(path):
        raise FileNotFoundError(f"{path}: no such file; expected a log in which every line vouches for the one before")
    for part in parts(path):
        with part.open("rb") as file:
            for number, line in enumerate(file, start=1):
                fault = _fault(line, count, previous)
                if fault:
                    raise ValueError(f"{part}: line {number} {fault}")
                previous, count = json.loads(line)["hash"], count + 1
    return count


def _fault(line: bytes, sequence: int, previous: str) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return "is not JSON"
    if not isinstance(entry, dict) or set(entry) != _FIELDS:
        return f"must have the keys {', '.join(sorted(_FIELDS))}"
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
