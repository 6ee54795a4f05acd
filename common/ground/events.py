"""What happens in a run, appended to ``events.jsonl`` as it happens, one JSON object a line.

Several processes write the same file: the server and every hospital of a simulation. Each event is one ``write`` to a
file opened for appending, which the operating system never interleaves with another on a local disk. Readers follow the
file with ``read_events``. Every event has ``time`` (Unix seconds) and ``kind``:

``run``      name, mode (simulate, train, consortium), rounds, sites
``site``     site, round, stage (load, model, features, validate, train; fetch, send: bytes), done, total; in training
             epoch, epochs, loss
``server``   round, stage (load, evaluate, wait, aggregate), and where it is counted done, total
``round``    round, rounds, central (Scores), failures, seconds
``failure``  site, round, reason
``hospital`` site, state (waiting: not connected; working: the task was sent; lost: it or its reply was, on the way;
             replied, late, failed, missing), since
``note``     text; ``about``: masks, where it says whose sum a round is
``process``  pid of a process that serves hospitals
``end``      status
"""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from fedthorax.common.ground.atomic_write import PRIVATE
from fedthorax.common.ground.strict_json import plain_value


class EventLog:
    """Appends events to ``path``; without a path every call does nothing. Safe to use from several threads."""

    def __init__(self, path: Path | None) -> None:
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE)

    def emit(self, kind: str, **fields: Any) -> None:
        """Append one event with the time in Unix seconds. Undefined numbers (NaN, infinity) are written as null."""
        event = {"time": time.time(), "kind": kind, **plain_value(fields, kind, {})}
        line = (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()
        with self._lock:
            if self._descriptor is not None:
                os.write(self._descriptor, line)

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventTail:
    """Follows the events of a file that grows, may not be there yet, and is replaced where a run begins anew."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._file: int | None = None

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """What is new, and whether it is the beginning of another file than before."""
        while True:
            present = self._number()
            replaced = present != self._file
            found, offset = read_events(self._path, 0 if replaced else self._offset)
            if self._number() == present:  # else whose events these are is not known
                self._file, self._offset = present, offset
                return found, replaced

    def _number(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The complete events from byte ``offset`` on, and the offset to go on from.

    A line still being written is left for the next call. A file that does not exist yet has no events; one that has
    become shorter than ``offset`` was replaced and is read from its beginning. A line that is no JSON object (the
    writer's machine lost power within it) is passed over.
    """
    try:
        with path.open("rb") as file:
            if offset > os.fstat(file.fileno()).st_size:
                offset = 0
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], 0
    end = data.rfind(b"\n") + 1
    events = []
    for line in data[:end].splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a writer that was killed leaves half a line, and the next one goes on behind it
        if isinstance(event, dict) and isinstance(event.get("kind"), str):
            events.append(event)
    return events, offset + end
