"""What of a run stays at the hospital: what its algorithm keeps from round to round, and a model of its own.

The first is kept by round, ``FOLDER/HOSPITAL-ID/round-0003.npz``, where ID stands for the run. The server says with
every task after which round's training it goes with the weights that come, so a run that goes on from an earlier round
finds the part of that round, and an update that did not count leaves no trace.
"""

import hashlib
import io
import re
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.messages.message import Segments
from fedthorax.common.messages.tasks import ModelTask

_MODEL = "model.npz"
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
KEEP_SECONDS = 90 * 86400.0  # of a run that nobody has gone on with
Values = dict[str, NDArray[np.float32]]


class OwnPart:
    """Without a folder there is nowhere to keep it, and an algorithm that wants it is refused."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def load(self, task: ModelTask) -> Values:
        """What the algorithm kept after the training of ``task.own_round``; nothing before the hospital's first.

        ValueError where it is not here.
        """
        if not task.own_round:
            return {}
        try:
            return _read(self._file(task, task.own_round))
        except _DAMAGE as error:
            raise ValueError(
                f"the hospital no longer holds its own part of the model after round {task.own_round}; bring its "
                "folder back from a copy, or start the run anew"
            ) from error

    def keep(self, task: ModelTask, values: Segments, rounds: int | None) -> None:
        """Keep ``values`` as what goes with the training that ``task`` asked for, and of the newest ``rounds`` only."""
        path = self._file(task, task.round)
        _save(path, values)
        for folder in path.parent.parent.iterdir():
            if folder != path.parent and folder.stat().st_mtime < time.time() - KEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        for old in sorted(path.parent.glob("round-*.npz"))[: -rounds if rounds else 0]:
            old.unlink()

    def keep_model(self, task: ModelTask, weights: Segments | None) -> None:
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

    def _file(self, task: ModelTask, number: int) -> Path:
        return self._of(task.run, task.site) / f"round-{number:04d}.npz"

    def _of(self, run: str, site: str) -> Path:
        if self._folder is None:
            raise ValueError("there is no folder here in which the hospital's own part of the model could be kept")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", site)  # both come from the server and become names of folders
        return self._folder / f"{name}-{hashlib.sha256(f'{run} {site}'.encode()).hexdigest()[:16]}"


def _save(path: Path, values: Segments) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **values)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (buffer.getbuffer(),), mode=PRIVATE)


def _read(path: Path) -> Values:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        return {name: content[name] for name in content}
