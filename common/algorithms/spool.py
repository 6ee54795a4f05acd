"""Updates on disk, for strategies that must see all of them at once: memory does not grow with the hospitals."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.algorithm import RoundShape, Update
from fedthorax.common.algorithms.branchwise import Part

_BLOCK = 1 << 18  # values of each hospital in memory at a time


class Spool:
    """Updates in the order of the hospitals' names, whatever the order in which they came."""

    def __init__(self, shape: RoundShape) -> None:
        self.parts = tuple(shape.parts or (Part(name, slice(0, size), "fusion") for name, size in shape.sizes.items()))
        self._by_pairs = shape.parts is None
        self._folder = tempfile.TemporaryDirectory(prefix="fedthorax-updates-")
        self._numbers = itertools.count()
        self._updates: dict[str, tuple[Update, dict[str, Path]]] = {}

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(sorted(self._updates))

    @property
    def num_examples(self) -> int:
        return sum(update.num_pairs for update, _ in self._updates.values())

    def add(self, update: Update) -> None:
        files = {}
        for segment, values in update.weights.items():
            files[segment] = Path(self._folder.name) / f"{next(self._numbers)}.npy"
            np.save(files[segment], values)
        light = Update(update.site, {}, update.num_pairs, update.counts, update.loss)
        self._updates[update.site] = light, files

    def remove(self, update: Update) -> None:
        for file in self._updates.pop(update.site)[1].values():
            file.unlink()

    def update(self, site: str) -> Update:
        """What came with the weights of a hospital, without them."""
        return self._updates[site][0]

    def values(self, site: str, segment: str) -> NDArray[np.float32]:
        """Memory-mapped."""
        return np.asarray(np.load(self._updates[site][1][segment], mmap_mode="r"))

    def holders(self, part: Part) -> tuple[str, ...]:
        """The hospitals that have something to say about a part."""
        return tuple(
            site
            for site in self.sites
            if part.segment in self._updates[site][1]
            and (self._by_pairs or part.weight(self._updates[site][0].counts) > 0)
        )

    def blocks(self, part: Part, sites: tuple[str, ...]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Where in the part, and the hospitals' values there (sites, values)."""
        rows = [self.values(site, part.segment)[part.where] for site in sites]
        for start in range(0, len(rows[0]) if rows else 0, _BLOCK):
            block = slice(start, start + _BLOCK)
            yield block, np.stack([row[block].astype(np.float64) for row in rows])

    def close(self) -> None:
        self._folder.cleanup()
