"""Averaging part by part: each is weighed by the images, pairs or labels that stand behind it.

A hospital without CT says nothing about the CT encoder, and one that never annotates a finding nothing about that unit
of the head: plain averaging would pull both towards where the round began. A part with nothing behind it anywhere keeps
its values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.model.segments import TOKEN, SegmentLayout, Weights
from fedthorax.server.aggregation import WeightedMean


@dataclass(frozen=True)
class Part:
    """Values of a segment that are weighed alike: by ``count`` of ``branch_counts``, at ``position`` if a list."""

    segment: str
    where: slice
    count: str
    position: int | None = None

    def weight(self, counts: Mapping[str, Any]) -> int:
        count = counts[self.count]
        return int(count if self.position is None else count[self.position])


def parts_of(layout: SegmentLayout, segments: Sequence[str], num_findings: int) -> tuple[Part, ...]:
    """The parts of a network in their order; together they cover every value of ``segments`` once."""
    parts: list[Part] = []
    for segment in segments:
        size, branch = layout.sizes[segment], segment.partition(".")[0]
        if branch == "disease":  # kernel (inputs, findings), then bias (findings): a finding is every n-th value
            parts += [Part(segment, slice(i, size, num_findings), "findings", i) for i in range(num_findings)]
        elif branch == "fusion":
            tokens = [slot for slot in layout.slots[segment] if TOKEN in slot.name]
            parts.append(Part(segment, slice(0, tokens[0].start if tokens else size), "fusion"))
            parts += [Part(segment, slice(t.start, t.stop), f"{t.name.split('_')[1]}_token") for t in tokens]
        else:
            parts.append(Part(segment, slice(0, size), branch))
    return tuple(parts)


class BranchwiseAverage:
    """The weighted mean of every part, exact in any order as FederatedAverage is; with equal counts the same bits."""

    def __init__(self, sizes: Mapping[str, int], parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._means = [WeightedMean(len(range(*part.where.indices(sizes[part.segment])))) for part in parts]
        self.num_examples = 0

    def add(self, weights: Weights, counts: Mapping[str, Any]) -> None:
        """Add one hospital's update; segments that it lacks need not be there. Check update and counts first."""
        for part, mean in zip(self._parts, self._means, strict=True):
            weight = part.weight(counts)
            if weight and part.segment in weights:
                mean.add(np.ascontiguousarray(weights[part.segment][part.where]), weight)
        self.num_examples += counts["fusion"]

    def result(self, before: Weights) -> dict[str, NDArray[np.float32]]:
        """The averaged segments, with the values of ``before`` where no hospital has anything to say."""
        averaged = {part.segment: before[part.segment].copy() for part in self._parts}
        for part, mean in zip(self._parts, self._means, strict=True):
            if mean.num_examples:
                averaged[part.segment][part.where] = mean.mean()
        return averaged
