"""Averaging part by part: each is weighed by the images, pairs or labels that stand behind it.

A hospital without CT says nothing about the CT encoder, and one that never annotates a finding nothing about that unit
of the head: plain averaging would pull both towards where the round began. A part with nothing behind it anywhere keeps
its values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.aggregation import MaskedSum, WeightedMean

Weights = Mapping[str, NDArray[np.float32]]


Counts = Mapping[str, Any] | int


@dataclass(frozen=True)
class Part:
    """Values of a segment that are weighed alike: by ``count`` of ``branch_counts``, at ``position`` if a list."""

    segment: str
    where: slice
    count: str = "fusion"
    position: int | None = None

    def weight(self, counts: Counts) -> int:
        """``counts`` may be the pairs alone."""
        if isinstance(counts, int):
            return counts
        return int(counts[self.count] if self.position is None else counts[self.count][self.position])


def whole(sizes: Mapping[str, int]) -> tuple[Part, ...]:
    """Each segment one part, all weighed by pairs."""
    return tuple(Part(segment, slice(0, size)) for segment, size in sizes.items())


class FederatedAverage:
    """FedAvg: the weighted mean of every part, exact in any order; with equal counts the same bits as without parts."""

    def __init__(self, sizes: Mapping[str, int], parts: Sequence[Part] | None = None) -> None:
        """``sizes``: number of values of each segment that is trained in this round; without ``parts`` all is weighed
        by pairs."""
        self._parts = whole(sizes) if parts is None else tuple(parts)
        self._means = [WeightedMean(len(range(*part.where.indices(sizes[part.segment])))) for part in self._parts]
        self.num_examples = 0  # pairs behind the updates that are in

    def add(self, weights: Weights, counts: Counts) -> None:
        """Add one hospital's update, as it arrives; segments that it lacks need not be there. Check it first."""
        for mean, values, weight in self._of(weights, counts):
            mean.add(values, weight)
        self.num_examples += counts if isinstance(counts, int) else counts["fusion"]

    def remove(self, weights: Weights, counts: Counts) -> None:
        """Take out again what was added."""
        for mean, values, weight in self._of(weights, counts):
            mean.remove(values, weight)
        self.num_examples -= counts if isinstance(counts, int) else counts["fusion"]

    def add_sums(self, sums: Sequence[MaskedSum]) -> None:
        """Add what is known of several hospitals at once; ``sums`` are of these parts."""
        places = {(part.segment, str(part.where)): number for number, part in enumerate(self._parts)}
        for found in sums:
            self._means[places[found.segment, str(found.where)]].add_sum(found)
            self.num_examples = max(self.num_examples, found.weight)  # pairs are told of no part but the fusion

    def _of(self, weights: Weights, counts: Counts) -> Iterator[tuple[WeightedMean, NDArray[np.float32], int]]:
        for part, mean in zip(self._parts, self._means, strict=True):
            weight = part.weight(counts)
            if weight and part.segment in weights:
                yield mean, np.ascontiguousarray(weights[part.segment][part.where]), weight

    def unsaid(self, segment: str) -> list[slice]:
        """Where no hospital has anything to say."""
        parts = zip(self._parts, self._means, strict=True)
        return [part.where for part, mean in parts if part.segment == segment and not mean.num_examples]

    def result(self, before: Weights) -> dict[str, NDArray[np.float32]]:
        """The averaged segments, with the values of ``before`` where no hospital has anything to say."""
        averaged = {part.segment: before[part.segment].copy() for part in self._parts}
        for part, mean in zip(self._parts, self._means, strict=True):
            if mean.num_examples:
                values = averaged[part.segment][part.where]
                values[:] = mean.mean(values)
        return averaged
