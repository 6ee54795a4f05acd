"""Objects at the lead, on disk: what tasks start from, for the gateway to serve, and what hospitals have sent up.

::

    objects/RUN.lock                         held by the run's ServerApp
    objects/RUN/sent/SHA256                  each object of the run's present tasks, once
    objects/RUN/HOSPITAL/TASK/down/SHA256    the same file under the tasks that may fetch it
    objects/RUN/HOSPITAL/TASK/up/SHA256      whole and checked; SHA256-BYTES.part while it comes
    objects/RUN/HOSPITAL/TASK/most           how many bytes the task's reply may have
    objects/RUN/HOSPITAL/TASK/passing        how far the hospital is, as the gateway last saw it

A task's folder is its hospital's right to it: it is made before the task is sent and goes when its round is closed.
"""

import contextlib
import hashlib
import mmap
import os
import shutil
from pathlib import Path

from fedthorax.common.ground.atomic_write import PRIVATE, replacing, write_text
from fedthorax.common.ground.lock import take
from fedthorax.common.messages.tasks import ModelTask
from fedthorax.common.wire.parcel import Cargo, Parcel
from fedthorax.server.channel import Passing

MOST_TIMES = 4  # of the model that a task starts from: a masked update has twice its bytes, what goes beside it as many
_SPARE_BYTES = 1 << 20


def hospital_mark(name: str) -> str:
    """Stands for a hospital in names of folders."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def task_folder(objects: Path, run: str, hospital: str, task: str) -> Path:
    return objects / run / hospital_mark(hospital) / task


def note_passing(task: Path, stage: str, done: int, total: int) -> None:
    (task / "passing").write_text(f"{stage} {done} {total}", encoding="ascii")


class ObjectStore:
    """The ServerApp's half."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._run = ""

    def offer(self, task: ModelTask, cargo: Cargo) -> int:
        """Lay out what the task starts from, and make room for its reply; returns the bytes that were not there yet."""
        self._begin(task.run)
        place, new = self._of(task), 0
        for name in ("down", "up"):
            (place / name).mkdir(parents=True, exist_ok=True)
        for entry, view in zip(cargo.entries, cargo.views, strict=True):
            shared, own = self._sent / entry.sha256, place / "down" / entry.sha256
            if own.exists():
                continue
            if not shared.exists():
                with replacing(shared, PRIVATE, durable=False) as file:
                    file.write(view)
            os.link(shared, own)
            new += entry.bytes
        most = MOST_TIMES * sum(values.nbytes for values in task.weights.values()) + _SPARE_BYTES
        write_text(place / "most", f"{most}\n")
        return new

    def whole(self, task: ModelTask, parcel: Parcel) -> Parcel:
        """A light reply with its segments, as views of the files. ValueError where one has not come."""
        views: dict[str, memoryview] = {}
        for entry in parcel.contents.segments:
            try:
                views[entry.sha256] = _view(self._of(task) / "up" / entry.sha256) if entry.bytes else memoryview(b"")
            except FileNotFoundError:
                raise ValueError(f"segment {entry.name} was not delivered") from None
        return parcel.with_data(views)

    def passing(self, task: ModelTask) -> Passing | None:
        try:
            stage, done, total = (self._of(task) / "passing").read_text(encoding="ascii").split()
            return Passing(stage, int(done), int(total))
        except (OSError, ValueError):  # nothing has passed yet, or it is being written
            return None

    def close(self, task: ModelTask) -> None:
        """Nobody may fetch or send anything for the task any more. Views of what came stay good."""
        place = self._of(task)
        names = [path.name for path in (place / "down").glob("*")]
        shutil.rmtree(place, ignore_errors=True)
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # closed with another hospital's task at this moment
                if (self._sent / name).stat().st_nlink == 1:
                    (self._sent / name).unlink()

    def end(self) -> None:
        """Remove what is left of the run."""
        if self._lock is not None:
            shutil.rmtree(self._folder / self._run, ignore_errors=True)
            (self._folder / f"{self._run}.lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _begin(self, run: str) -> None:
        if self._run == run:
            return
        self.end()
        self._folder.mkdir(exist_ok=True)
        self._lock, self._run = take(self._folder / f"{run}.lock", f"the run {run} goes on in another process"), run
        self._sent.mkdir(parents=True, exist_ok=True)
        remove_orphans(self._folder)

    @property
    def _sent(self) -> Path:
        return self._folder / self._run / "sent"

    def _of(self, task: ModelTask) -> Path:
        return task_folder(self._folder, task.run, task.site, task.id)


def remove_orphans(folder: Path) -> None:
    """Remove what runs have left whose process is gone. One of them that goes on again sends its tasks again."""
    for lock in folder.glob("*.lock"):
        with contextlib.suppress(BlockingIOError):  # held by a run that goes on
            descriptor = take(lock, "it goes on")
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _view(path: Path) -> memoryview:
    """The file's bytes, which take no memory of this process's own."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
