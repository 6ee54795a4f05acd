"""The model's segments that a hospital has received, kept by hash so that the same numbers need not travel again.

``SEGMENT-SHA256.f32`` holds the float32 values and nothing else. A file that is damaged has another hash than its name
says: it counts as missing, and the server sends it again.
"""

import os
import re
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import PRIVATE, replacing
from fedthorax.common.messages.message import Segments
from fedthorax.common.messages.tasks import ModelTask
from fedthorax.common.model import SEGMENTS
from fedthorax.common.model.segments import segment_sha256
from fedthorax.common.wire.segment import MOST_STEPS, base_of, unpack

KEPT = 3  # versions of a segment: the newest model's, the one's before it, and the best one's
_FLOAT = np.dtype("<f4")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class LackingSegmentsError(LookupError):
    """The task leaves out segments that are not here; ``segments`` names them."""

    def __init__(self, segments: tuple[str, ...]) -> None:
        super().__init__(f"the site does not hold {', '.join(segments)} of the model that the task starts from")
        self.segments = segments


class SegmentStore:
    """Without a folder nothing is kept, and every task has to bring the whole model."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._written: set[Path] = set()  # by this process, and not found damaged since

    def complete(self, task: ModelTask, sizes: Mapping[str, int]) -> Segments:
        """All segments of the task's model: those that it brings, whole or as differences, and those held here.

        ``sizes`` are the numbers of values of the network's segments. Raises LackingSegmentsError, and ValueError where
        a segment that came is damaged, of another size, or not the one that the task names.
        """
        _check_names(task.sha256)
        _check_names(task.best)
        for name, digest in task.best.items():
            self._save(name, digest, None)
        for name, count in sizes.items():
            if name in task.weights and task.weights[name].size != count:
                raise ValueError(f"segment {name}: {task.weights[name].size} values came, expected {count}")
        weights = {**task.weights, **self._unpacked(task, sizes)}
        for name, values in weights.items():
            if name in task.sha256 and segment_sha256(values) != task.sha256[name]:
                raise ValueError(f"segment {name}: the values that came have another hash than the task says")
        left_out = [name for name in task.sha256 if name not in weights]
        held = {name: self._load(name, task.sha256[name]) for name in left_out}
        # What came is kept even where something is lacking: the server sends the rest only.
        for name in task.sha256:
            self._save(name, task.sha256[name], weights.get(name))
        lacking = tuple(name for name, values in held.items() if values is None)
        if lacking:
            raise LackingSegmentsError(lacking)
        weights |= {name: values for name, values in held.items() if values is not None}
        return {name: weights[name] for name in SEGMENTS if name in weights}

    def _unpacked(self, task: ModelTask, sizes: Mapping[str, int]) -> Segments:
        """The packed segments that came, less those that are here already or whose base is not: they are lacking, or
        found by their hash."""
        found = {}
        for name, data in task.packed.items():
            digest = task.sha256.get(name, "")
            try:
                difference = bool(base_of(data))
                if difference and self._load(name, digest) is not None:
                    continue
                values = unpack(data, partial(self._load, name), sizes.get(name, 0), MOST_STEPS)
            except LookupError:
                continue
            except ValueError as error:
                raise ValueError(f"segment {name}: {error}") from error
            # A difference to a damaged base, or one that this machine adds up to other bits, comes again as a whole.
            if not difference or segment_sha256(values) == digest:
                found[name] = values
        return found

    def _load(self, name: str, sha256: str) -> NDArray[np.float32] | None:
        if self._folder is None or not _SHA256.fullmatch(sha256):
            return None
        try:
            values = np.fromfile(self._file(name, sha256), _FLOAT)
        except OSError:
            return None
        if segment_sha256(values) == sha256:
            return values
        self._written.discard(self._file(name, sha256))
        return None

    def _save(self, name: str, sha256: str, values: NDArray[np.float32] | None) -> None:
        """Keep ``values``, or note that what is kept was used, and remove the oldest versions."""
        if self._folder is None:
            return
        path = self._file(name, sha256)
        if values is None or path in self._written:
            if path.is_file():
                os.utime(path, ns=2 * (time.time_ns(),))
                return
            self._written.discard(path)
        if values is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(path, PRIVATE, durable=False) as file:
            file.write(np.ascontiguousarray(values, _FLOAT).data)
        os.utime(path, ns=2 * (time.time_ns(),))  # the kernel's own stamps are too coarse to sort by
        self._written.add(path)
        versions = sorted(self._folder.glob(f"{name}-*.f32"), key=_age)
        for old in versions[KEPT:]:
            old.unlink(missing_ok=True)
            self._written.discard(old)

    def _file(self, name: str, sha256: str) -> Path:
        assert self._folder is not None  # for the type checker: the callers looked
        return self._folder / f"{name}-{sha256}.f32"


def _age(path: Path) -> float:
    """Sorts the newest first; a file that another process has just removed comes last."""
    try:
        return -path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0.0


def _check_names(sha256: Mapping[str, str]) -> None:
    """They come from the server and become names of files here."""
    for name, digest in sha256.items():
        if name not in SEGMENTS or not _SHA256.fullmatch(digest):
            raise ValueError(f"the task names a segment {name!r} with the hash {digest!r}; that is none of the model's")
