"""What of the model stays at the hospital: with FedBN its batch normalisation, with SCAFFOLD its control variate, and a
model of its own.

The first two are kept by round, ``FOLDER/HOSPITAL-ID/round-0003.npz``, where ID stands for the run. The server
says with every task after which round's training the hospital's own part goes with the weights that come, so a run that
goes on from an earlier round finds the part of that round, and an update that did not count leaves no trace.
"""

import hashlib
import io
import re
import shutil
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.messages import Segments, Task
from fedthorax.common.model.segments import SegmentLayout

_MODEL = "model.npz"
_CONTROLS = 4  # rounds of which a control variate is kept: a server that goes on from an older checkpoint starts anew
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
KEEP_SECONDS = 90 * 86400.0  # of a run that nobody has gone on with
Values = dict[str, NDArray[np.float32]]


class OwnPart:
    """Without a folder there is nowhere to keep it, and a run that wants it is refused."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def put(self, task: Task, layout: SegmentLayout, segments: Sequence[str]) -> Values:
        """Write the hospital's own part over what came with the task, and return what came there.

        ValueError where the part of ``task.own_round`` is not here.
        """
        came = _taken(layout, layout.read(segments))
        if task.own_round:
            layout.write(_with(layout, layout.read(segments), self._load(task)))
        return came

    def keep(self, task: Task, layout: SegmentLayout, came: Values, update: Segments) -> Segments:
        """Keep the part as it is after the training that ``task`` asked for; returns the update without it, with what
        ``came`` in its place."""
        own = _taken(layout, layout.read(came))
        path = self._file(task, task.round)
        _save(path, own)
        self._forget_old(path.parent)
        return _with(layout, update, {name: values for name, values in came.items() if name in update})

    def control(self, task: Task) -> Values:
        """The hospital's control variate after ``task.own_round``, by segment; empty before its first training.

        ValueError where it is not here.
        """
        if not task.own_round:
            return {}
        return self._load(task)

    def keep_control(self, task: Task, control: Segments) -> None:
        """Keep it as it is after the training that ``task`` asked for; it is as large as the model, so few are kept."""
        path = self._file(task, task.round)
        _save(path, control)
        self._forget_old(path.parent)
        for old in sorted(path.parent.glob("round-*.npz"))[:-_CONTROLS]:
            old.unlink()

    def keep_model(self, task: Task, weights: Segments | None) -> None:
        """Keep the weights of the hospital's own model; None where the common one is better there."""
        path = self._of(task.run, task.site) / _MODEL
        if weights is None:
            path.unlink(missing_ok=True)
        else:
            _save(path, weights)

    def model(self, run: str, site: str) -> Values | None:
        """The segments of the hospital's own model, those of its own network; None where there is none.

        ValueError where the file is damaged.
        """
        path = self._of(run, site) / _MODEL
        if not path.is_file():
            return None
        try:
            return _read(path)
        except _DAMAGE as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def _load(self, task: Task) -> Values:
        path = self._file(task, task.own_round)
        try:
            return _read(path)
        except _DAMAGE as error:
            raise ValueError(
                f"the hospital no longer holds its own part of the model after round {task.own_round}; bring its "
                "folder back from a copy, or start the run anew"
            ) from error

    def _file(self, task: Task, number: int) -> Path:
        return self._of(task.run, task.site) / f"round-{number:04d}.npz"

    def _of(self, run: str, site: str) -> Path:
        if self._folder is None:
            raise ValueError("there is no folder here in which the hospital's own part of the model could be kept")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", site)  # both come from the server and become names of folders
        return self._folder / f"{name}-{hashlib.sha256(f'{run} {site}'.encode()).hexdigest()[:16]}"

    def _forget_old(self, present: Path) -> None:
        for folder in present.parent.iterdir():
            if folder != present and folder.stat().st_mtime < time.time() - KEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _save(path: Path, values: Segments) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **values)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (buffer.getbuffer(),), mode=PRIVATE)


def _read(path: Path) -> Values:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        return {name: content[name] for name in content}


def _taken(layout: SegmentLayout, weights: Segments) -> Values:
    """The values that stay, a vector a segment; segments without any are left out."""
    wheres = {segment: layout.batch_norm(segment) for segment in weights}
    return {
        segment: np.concatenate([weights[segment][where] for where in found])
        for segment, found in wheres.items()
        if found
    }


def _with(layout: SegmentLayout, weights: Segments, own: Mapping[str, NDArray[np.float32]]) -> Values:
    changed = {segment: values.copy() for segment, values in weights.items()}
    for segment, values in own.items():
        start = 0
        for where in layout.batch_norm(segment):
            stop = start + where.stop - where.start
            changed[segment][where] = values[start:stop]
            start = stop
    return changed
