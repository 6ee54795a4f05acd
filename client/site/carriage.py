"""What the worker has carried between its files and the consortium's gateway, one object after the other.

The worker has no key, so it cannot call there; the carrier has (carrier.py), and asks here what is wanted. Whoever may
open the worker's socket may bring bytes, of which only those of the wanted hash are taken, and see an update that is
about to leave.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.ground.atomic_write import PRIVATE
from fedthorax.common.messages.message import Task
from fedthorax.common.wire.parcel import Entry, Parcel, View

LOOK_S = 0.5  # between two looks whether the task is still wanted
NOBODY_S = 120.0  # without a carrier, which is started again after a crash
STANDS_STILL = "stands still, try 1:"  # in the carrier's first word of a line that broke
DONE, GONE = "done", "gone"  # how the carrier says that it is through, and that the lead wants nothing of it any more
Heard = Callable[[int, int], None]  # bytes that are through and bytes in all; raises where the task is not wanted


class GoneError(RuntimeError):
    """The round was closed meanwhile."""


@dataclass
class Want:
    """``offset``: so many bytes are where they should be. ``fresh``: nothing was ever sent of it. ``before`` and
    ``total`` are bytes of the task's objects: those before this one, and of all."""

    run: str
    task: str
    sha256: str
    bytes: int
    deliver: bool
    fresh: bool
    before: int
    total: int
    offset: int = 0
    outcome: str = ""


class Carriage:
    def __init__(self, incoming: Path, segments: Path) -> None:
        """``incoming`` is for what comes, ``segments`` where SegmentStore keeps what has come before."""
        self._incoming, self._segments = incoming, segments
        self._changed = threading.Condition()
        self._want: Want | None = None
        self._outgoing: View = memoryview(b"")
        self._full: OSError | None = None
        self._asked = time.monotonic()

    def fetch(self, task: Task, parcel: Parcel, heard: Heard) -> dict[str, View]:
        """The segments of the light parcel by their hash; what is here already is not fetched again."""
        entries = {entry.sha256: entry for entry in parcel.contents.segments}
        self._incoming.mkdir(parents=True, exist_ok=True)
        for path in self._incoming.iterdir():
            if path.stem not in entries:
                path.unlink()
        found, done, total = dict[str, View](), 0, parcel.contents.data_bytes
        for entry in entries.values():
            if (held := self._held(entry)) is None:
                part = self._part(entry.sha256)
                offset = part.stat().st_size if part.exists() else 0
                if offset >= entry.bytes:  # and of another hash, or it would be held
                    part.unlink()
                    offset = 0
                want = Want(task.run, task.id, entry.sha256, entry.bytes, False, False, done, total, offset)
                whole = part.with_suffix("")
                whole.unlink(missing_ok=True)  # damaged
                self._carried(want, memoryview(b""), heard)
                if not whole.exists():
                    raise ValueError(f"segment {entry.name}: the values that came have another hash than the task says")
                held = whole.read_bytes()  # it has its name once the hash fits
            found[entry.sha256] = memoryview(held)
            done += entry.bytes
        return found

    def deliver(self, task: Task, parcel: Parcel, fresh: bool, heard: Heard) -> None:
        """Returns once the gateway has every segment. GoneError where nobody waits for them any more."""
        done, total = 0, parcel.contents.data_bytes
        for entry, view in zip(parcel.contents.segments, parcel.data, strict=True):
            if entry.bytes:
                want = Want(task.run, task.id, entry.sha256, entry.bytes, True, fresh, done, total)
                self._carried(want, view, heard)
                done += entry.bytes

    def next_want(self, seconds: float) -> Want | None:
        """What the carrier is to do now; None where there is nothing for so many seconds."""
        with self._changed:
            self._asked = time.monotonic()
            self._changed.wait_for(self._open, seconds)
            self._asked = time.monotonic()
            return self._want if self._open() else None

    def take(self, sha256: str, offset: int, pieces: Iterable[bytes]) -> int:
        """Keep the bytes that follow ``offset``; returns how many there are. ValueError where they are not wanted,
        OSError where the disk takes no file: so the task ends, too."""
        want = self._wanted(sha256, deliver=False)
        try:
            return self._kept(want, offset, pieces)
        except OSError as error:
            with self._changed:
                if self._want is want:
                    self._full = error
                    self._changed.notify_all()
            raise

    def _kept(self, want: Want, offset: int, pieces: Iterable[bytes]) -> int:
        sha256 = want.sha256
        part = self._part(sha256)
        held = part.stat().st_size if part.exists() else 0
        if offset != held:
            raise ValueError(f"{held} bytes are here, not {offset}")
        digest = hashlib.sha256(part.read_bytes() if held else b"")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, PRIVATE), "ab") as file:
            for piece in pieces:
                if held + len(piece) > want.bytes:
                    raise ValueError(f"more than the {want.bytes} bytes that are wanted")
                file.write(piece)
                digest.update(piece)
                held = want.offset = held + len(piece)
                self._asked = time.monotonic()
        if held == want.bytes:
            if digest.hexdigest() == sha256 and part.stat().st_size == held:  # nothing of an earlier call's between
                part.rename(part.with_suffix(""))
            else:
                part.unlink()
            self.tell(sha256, held, DONE)
        return held

    def give(self, sha256: str, offset: int) -> View:
        """What follows ``offset`` of the object that is to be delivered. ValueError where it is not."""
        want = self._wanted(sha256, deliver=True)
        if offset > want.bytes:
            raise ValueError(f"the object has {want.bytes} bytes, not {offset}")
        return self._outgoing[offset:]

    def tell(self, sha256: str, done: int, outcome: str) -> None:
        """How far the carrier is; ``outcome`` is DONE, GONE, or why it gives up."""
        with self._changed:
            self._asked = time.monotonic()
            if self._want is not None and self._open() and self._want.sha256 == sha256:
                self._want.offset, self._want.outcome = min(done, self._want.bytes), outcome
                self._changed.notify_all()

    def _carried(self, want: Want, view: View, heard: Heard) -> None:
        with self._changed:
            self._want, self._outgoing, self._full, self._asked = want, view, None, time.monotonic()
            self._changed.notify_all()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: want.outcome or self._full, LOOK_S)
                    idle, full = time.monotonic() - self._asked, self._full
                if full is not None:
                    raise full
                heard(want.before + want.offset, want.total)
                if want.outcome == DONE:
                    return
                if want.outcome == GONE:
                    raise GoneError("the server no longer waits for this task")
                if want.outcome:
                    raise RuntimeError(want.outcome)
                if idle > NOBODY_S:
                    raise RuntimeError("nothing here carries models and updates; is `site start` running?")
        finally:
            with self._changed:
                self._want, self._outgoing = None, memoryview(b"")

    def _open(self) -> bool:
        """Whether there is something to do; what is done with stands there until the worker has seen it."""
        return self._want is not None and not self._want.outcome

    def _wanted(self, sha256: str, deliver: bool) -> Want:
        with self._changed:
            want = self._want
        if want is None or want.sha256 != sha256 or want.deliver != deliver:
            raise ValueError("this object is not wanted")
        return want

    def _held(self, entry: Entry) -> bytes | None:
        paths = [self._incoming / entry.sha256, self._part(entry.sha256)]  # the worker may have been killed in between
        if not entry.packed and "/" not in entry.name:
            paths.append(self._segments / f"{entry.name}-{entry.sha256}.f32")
        for path in paths:
            try:
                data = path.read_bytes()
            except OSError:  # not held, or not to be read: it is fetched
                continue
            if len(data) == entry.bytes and hashlib.sha256(data).hexdigest() == entry.sha256:
                return data
        return b"" if not entry.bytes else None

    def _part(self, sha256: str) -> Path:
        return self._incoming / f"{sha256}.part"
