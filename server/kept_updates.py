"""The updates of a round on disk, until it is known which of them count: memory does not grow with the hospitals."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedthorax.common.algorithms.algorithm import Update, Weights
from fedthorax.server.steps import FEWEST


class KeptUpdates:
    """By hospital its update and its pace, the norm of its step over the square root of its number of steps; nothing
    where fewer than FEWEST ``hospitals`` train, which are not compared."""

    def __init__(self, hospitals: int) -> None:
        self._compared = hospitals >= FEWEST
        self.paces: dict[str, float] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="fedthorax-kept-")
        self._light: dict[str, Update] = {}

    def keep(self, update: Update, pace: float) -> None:
        if not self._compared:
            return
        for kind in ("weights", "beside"):
            for segment, values in getattr(update, kind).items():
                np.save(self._file(update.site, kind, segment), values)
        self.paces[update.site] = pace
        nothing = np.empty(0, np.float32)
        weights, beside = dict.fromkeys(update.weights, nothing), dict.fromkeys(update.beside, nothing)
        self._light[update.site] = replace(update, weights=weights, beside=beside)

    def again(self, site: str) -> Update:
        """The same update, memory-mapped."""
        light = self._light[site]

        def read(kind: str) -> Weights:
            return {name: np.load(self._file(site, kind, name), mmap_mode="r") for name in getattr(light, kind)}

        return replace(light, weights=read("weights"), beside=read("beside"))

    def close(self) -> None:
        self._folder.cleanup()

    def _file(self, site: str, kind: str, segment: str) -> Path:
        number = list(dict.fromkeys([*self._light, site])).index(site)
        return Path(self._folder.name) / f"{number}-{kind}-{segment}.npy"
