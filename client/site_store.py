"""What of a run stays at the hospital, by round: what its algorithm keeps, and what a lossy codec has left out of its
updates; and the hospital's own model.

``FOLDER/HOSPITAL-ID/round-0003.npz`` and ``residual-0003.npz``, where ID stands for the run. The server says with every
task which update of the hospital counted last, so a run that goes on from an earlier round finds what goes with that
round, and an update that did not count leaves no trace.
"""

import hashlib
import re
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import PRIVATE, replacing
from fedthorax.common.messages.message import Segments, Task
from fedthorax.common.messages.tasks import ModelTask

RESIDUALS = 3  # rounds: this one, the one before, and the one before that, from which a damaged checkpoint goes on
KEEP_SECONDS = 90 * 86400.0  # of a run that nobody has gone on with
_MODEL = "model.npz"
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
Values = dict[str, NDArray[np.float32]]


class SiteStore:
    """Without a folder residuals are lost, and an algorithm that wants to keep something is refused."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def own_part(self, task: ModelTask) -> Values:
        """What the algorithm kept after the training of ``task.own_round``; nothing before the hospital's first.

        ValueError where it is not here.
        """
        try:
            return self._load("round", task)
        except _DAMAGE as error:
            raise ValueError(
                f"the hospital no longer holds its own part of the model after round {task.own_round}; bring its "
                "folder back from a copy, or start the run anew"
            ) from error

    def keep_own_part(self, task: ModelTask, values: Segments, rounds: int | None) -> None:
        """Keep what goes with the training that ``task`` asked for, and of the newest ``rounds`` only; None: of all."""
        self._keep("round", task, values, rounds)

    def residual(self, task: ModelTask) -> Values | None:
        """The residual by segment after the update that counted last, none before the first; None where it is lost."""
        try:
            return self._load("residual", task)
        except _DAMAGE:
            return None

    def keep_residual(self, task: ModelTask, residual: Segments) -> None:
        if self._folder is not None:
            self._keep("residual", task, residual, RESIDUALS)

    def masking_file(self, task: Task) -> Path:
        """Where the run's secrets are kept under masks."""
        return self._of(task.run, task.site) / "masking.json"

    def privacy_file(self, task: Task) -> Path:
        """Where a simulated hospital writes down what it spent."""
        return self._of(task.run, task.site) / "privacy.jsonl"

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

    def _load(self, kind: str, task: ModelTask) -> Values:
        return _read(self._of(task.run, task.site) / _name(kind, task.own_round)) if task.own_round else {}

    def _keep(self, kind: str, task: ModelTask, values: Segments, rounds: int | None) -> None:
        folder = self._of(task.run, task.site)
        _save(folder / _name(kind, task.round), values, durable=kind == "round")  # a damaged residual counts as lost
        for other in folder.parent.iterdir():
            if other != folder and other.stat().st_mtime < time.time() - KEEP_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
        if rounds is not None:
            files = sorted(folder.glob(f"{kind}-*.npz"))
            past = [file for file in files if file.name <= _name(kind, task.round)]
            for file in set(files) - set(past[-rounds:]):
                file.unlink(missing_ok=True)

    def _of(self, run: str, site: str) -> Path:
        if self._folder is None:
            raise ValueError("there is no folder here in which the hospital's own part of the model could be kept")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", site)  # both come from the server and become names of folders
        return self._folder / f"{name}-{hashlib.sha256(f'{run} {site}'.encode()).hexdigest()[:16]}"


def _name(kind: str, number: int) -> str:
    return f"{kind}-{number:04d}.npz"


def _save(path: Path, values: Segments, durable: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, PRIVATE, durable) as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def _read(path: Path) -> Values:
    # An open stream, because np.load leaves a damaged file open.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        return {name: content[name] for name in content}
