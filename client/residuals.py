"""What a lossy codec has left out of a hospital's updates so far, kept for the next one.

Kept by round, ``FOLDER/ID/residual-0003.npz``, where ID stands for run and hospital. The server says with every task
which update of the hospital counted last, so a run that goes on from an earlier round finds the residual of that round,
and what an update that did not count has left out is not counted either.
"""

import contextlib
import hashlib
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.messages.tasks import ModelTask

KEPT = 3  # rounds: this one, the one before, and the one before that, from which a damaged checkpoint makes a run go on
KEEP_SECONDS = 30 * 86400.0  # of a run that nobody has gone on with
_NAME = re.compile(r"residual-(\d+)\.npz")

Values = Mapping[str, NDArray[np.float32]]


class Residuals:
    """Without a folder nothing is kept: then what was left out is lost."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def load(self, task: ModelTask) -> Values | None:
        """The residual by segment after the update that counted last, none before the first; None where it is lost."""
        if not task.own_round:
            return {}
        if self._folder is None:
            return None
        try:
            # An open stream, because np.load leaves a damaged file open.
            with self._file(task, task.own_round).open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                return {name: content[name] for name in content}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def keep(self, task: ModelTask, residual: Values) -> None:
        """Keep what is left out after the training that ``task`` asked for, and forget what no run goes back to."""
        if self._folder is None:
            return
        path = self._file(task, task.round)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not fsynced: what a power cut damages has another checksum, and counts as lost.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                np.savez(stream, **residual)  # type: ignore[arg-type]
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._forget_old(path.parent)
        kept = sorted(number for number in _rounds(path.parent) if number <= task.round)[-KEPT:]
        for number in _rounds(path.parent):
            if number not in kept:
                self._file(task, number).unlink(missing_ok=True)

    def _forget_old(self, present: Path) -> None:
        """Remove what runs that nobody has gone on with have left."""
        for file in present.parent.glob("*/residual-*.npz"):
            with contextlib.suppress(FileNotFoundError):  # another task of this site has removed it meanwhile
                if file.parent != present and file.stat().st_mtime < time.time() - KEEP_SECONDS:
                    file.unlink()

    def _file(self, task: ModelTask, number: int) -> Path:
        assert self._folder is not None  # for the type checker: the callers looked
        owner = hashlib.sha256(f"{task.run}\n{task.site}".encode()).hexdigest()[:32]
        return self._folder / owner / f"residual-{number:04d}.npz"


def _rounds(folder: Path) -> list[int]:
    return [int(match[1]) for match in (_NAME.fullmatch(path.name) for path in folder.iterdir()) if match]
