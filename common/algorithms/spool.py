"""Updates on disk, for who must see all of them at once, or one again: memory does not grow with the hospitals."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.algorithm import RoundShape, Segments, Update
from fedthorax.common.algorithms.branchwise import Part, whole

_BLOCK = 1 << 18  # values of each hospital in memory at a time


class KeptUpdates:
    """The updates of a round by hospital, in the order of their names, whatever the order in which they came."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fedthorax-updates-")
        self._light: dict[str, Update] = {}  # without the values
        self._numbers: dict[str, int] = {}  # hospitals' names are no names of files

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(sorted(self._light))

    def add(self, update: Update) -> None:
        self._numbers.setdefault(update.site, len(self._numbers))
        for kind in ("weights", "beside"):
            for segment, values in getattr(update, kind).items():
                np.save(self._file(update.site, kind, segment), values)
        nothing = np.empty(0, np.float32)
        weights, beside = dict.fromkeys(update.weights, nothing), dict.fromkeys(update.beside, nothing)
        self._light[update.site] = replace(update, weights=weights, beside=beside)

    def remove(self, update: Update) -> None:
        light = self._light.pop(update.site)
        for kind in ("weights", "beside"):
            for segment in getattr(light, kind):
                self._file(update.site, kind, segment).unlink()

    def light(self, site: str) -> Update:
        """What came of a hospital, without the values."""
        return self._light[site]

    def again(self, site: str) -> Update:
        """The same update, memory-mapped."""
        light = self._light[site]

        def read(kind: str) -> Segments:
            return {name: self._read(site, kind, name) for name in getattr(light, kind)}

        return replace(light, weights=read("weights"), beside=read("beside"))

    def values(self, site: str, segment: str) -> NDArray[np.float32]:
        """Memory-mapped."""
        return self._read(site, "weights", segment)

    def close(self) -> None:
        self._folder.cleanup()

    def _read(self, site: str, kind: str, segment: str) -> NDArray[np.float32]:
        return np.asarray(np.load(self._file(site, kind, segment), mmap_mode="r"))

    def _file(self, site: str, kind: str, segment: str) -> Path:
        return Path(self._folder.name) / f"{self._numbers[site]}-{kind}-{segment}.npy"


class Spool(KeptUpdates):
    """What a strategy has of them that combines them part by part: all but the ``result`` of an ``Aggregate``."""

    def __init__(self, shape: RoundShape) -> None:
        super().__init__()
        self._shape = shape
        self.parts = whole(shape.sizes) if shape.parts is None else tuple(shape.parts)
        self._by_pairs = shape.parts is None

    @property
    def num_examples(self) -> int:
        return sum(self.light(site).num_pairs for site in self.sites)

    def holders(self, part: Part) -> tuple[str, ...]:
        """The hospitals that have something to say about a part."""
        came = ((site, self.light(site)) for site in self.sites)
        return tuple(
            site
            for site, light in came
            if part.segment in light.weights and (self._by_pairs or part.weight(light.counts) > 0)
        )

    def trained(self, part: Part) -> NDArray[np.float64]:
        """1 at the values of a part that are trained, 0 at moving statistics: no steps, of another scale."""
        found = np.ones(self._shape.sizes[part.segment])
        for where in self._shape.statistics.get(part.segment, ()):
            found[where] = 0
        return found[part.where]

    def blocks(self, part: Part, sites: tuple[str, ...]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Where in the part, and the hospitals' values there (sites, values)."""
        rows = [self.values(site, part.segment)[part.where] for site in sites]
        for start in range(0, len(rows[0]) if rows else 0, _BLOCK):
            block = slice(start, start + _BLOCK)
            yield block, np.stack([row[block].astype(np.float64) for row in rows])
