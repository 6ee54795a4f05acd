"""What the run folder says at the moment, read piece by piece as it grows."""

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from fedthorax.common.ground.events import EventTail
from fedthorax.common.ground.progress import RunProgress
from fedthorax.common.record.run import Run
from fedthorax.common.record.run_folder import RunFolder

_NOTES_KEPT = 20


@dataclass
class RunState:
    """The run in the folder ``path``. ``refresh`` reads what is new; safe to use from several threads.

    ``run`` is what metrics.json holds, None before the first write. ``writer_gone``: the run says that it goes
    on, but the process that wrote it has ended; ``last_words`` is what it could say of that.
    """

    path: Path
    progress: RunProgress = field(default_factory=RunProgress)
    run: Run | None = None
    notes: list[str] = field(default_factory=list)
    writer_gone: bool = False
    last_words: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _metrics_file: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self._events = EventTail(self.path / "events.jsonl")

    def refresh(self) -> None:
        """Call with ``lock`` held. A run of the same name that replaces this one is followed from its beginning."""
        new, replaced = self._events.read()
        if replaced:
            self.progress, self.run, self.notes, self._metrics_file = RunProgress(), None, [], None
        for event in new:
            if event["kind"] == "run":  # also where a run goes on: its notes before that stay
                self.progress = RunProgress()
            self.progress.apply(event)
            if event["kind"] == "note":
                self.notes = [*self.notes, str(event.get("text", ""))][-_NOTES_KEPT:]
        self._read_run()
        ended = RunFolder(self.path).how_it_ended() if self.status == "running" else None
        self.writer_gone, self.last_words = ended is not None, ended and ended[1]

    @property
    def status(self) -> str:
        """starting, running, finished, interrupted or failed."""
        return str(self.progress.status or (self.run.status if self.run else "starting"))

    def _read_run(self) -> None:
        file = self.path / "metrics.json"
        try:
            found = file.stat()
        except OSError:
            return
        if (mark := (found.st_ino, found.st_mtime_ns)) == self._metrics_file:
            return
        with contextlib.suppress(OSError, ValueError):  # damaged, or gone again: the page keeps what it has
            self.run, self._metrics_file = RunFolder(self.path).read_run(), mark


def require_run(path: Path) -> None:
    """Raise FileNotFoundError where no run is and none has begun."""
    if not any((path / name).is_file() for name in ("metrics.json", "events.jsonl", "config.yaml")):
        raise FileNotFoundError(
            f"{path} holds no run; expected a run folder such as runs/demo, of a run that has begun"
        )
