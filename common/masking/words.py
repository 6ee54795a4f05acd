"""Weighted differences as words that can be masked and added: uint64, modulo 2^64.

A value x of a hospital and the value g of the model that it came from become fix(x) - fix(g), multiples of 2^-40 as in
``algorithms/aggregation``, times the weight of the part that the value belongs to. That fits into one word, except for
moving statistics, which may be large: those travel as two, the upper and the lower half. The last words of a domain are
the weights themselves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.aggregation import LIMIT, MaskedSum, all_below, halves, whole_numbers
from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.algorithms.settings import MAX_EXAMPLES
from fedthorax.common.ground.frozen import Frozen

Words = NDArray[np.uint64]
Weights = Mapping[str, NDArray[np.float32]]


class Group(Frozen):
    """The ``members`` mask parts of the model together; ``behind`` them those stand who have something to say."""

    members: tuple[str, ...]
    behind: tuple[str, ...]

    def may_be_summed(self, taken: Collection[str], smallest: int) -> bool:
        """Whether at least ``smallest`` of the hospitals whose words are ``taken`` stand behind the parts."""
        return len({*self.behind} & {*taken}) >= smallest


@dataclass(frozen=True)
class Domain:
    """The parts that a group masks, and unmasks, together.

    ``sizes`` are the numbers of values of the segments, ``wide`` the places of a segment whose values take two words.
    """

    group: Group
    parts: tuple[Part, ...]
    sizes: Mapping[str, int]
    wide: Mapping[str, NDArray[np.int64]]

    def wide_of(self, part: Part) -> NDArray[np.int64]:
        """Positions within the part of the values that take two words."""
        start, stop, step = part.where.indices(self.sizes[part.segment])
        places = self.wide[part.segment]
        own = places[(places >= start) & (places < stop) & ((places - start) % step == 0)]
        return (own - start) // step

    def num_words(self) -> int:
        values = sum(len(range(*part.where.indices(self.sizes[part.segment]))) for part in self.parts)
        return values + sum(len(self.wide_of(part)) for part in self.parts) + len(self.parts)


def wide_places(size: int, statistics: Sequence[slice]) -> NDArray[np.int64]:
    """Of a segment of ``size`` values those that are moving statistics."""
    return np.concatenate([np.empty(0, np.int64), *(np.arange(*where.indices(size)) for where in statistics)])


def words_of(
    domain: Domain,
    update: Weights,
    before: Weights,
    weights: Sequence[int],
    hospitals: int,
    known: Mapping[str, NDArray[np.int64]] | None = None,
) -> Words:
    """The domain's words of one hospital. ``weights``: that of each of its parts; a segment that ``update`` lacks
    counts as unchanged. ``known`` are the differences by segment, exactly, in place of those of ``update``. ValueError
    where a value is not finite, or so far from where it came from that the sum of as many ``hospitals`` could
    overflow."""
    found: list[Words] = []
    most = (2**63 - 1) // hospitals
    for part, weight in zip(domain.parts, weights, strict=True):
        old = np.ascontiguousarray(before[part.segment][part.where])
        new = np.ascontiguousarray(update[part.segment][part.where]) if part.segment in update else old
        if not (all_below(new, LIMIT) and all_below(old, LIMIT)):
            raise ValueError(f"segment {part.segment} of the update holds values that are not finite, or too large")
        steps = known[part.segment][part.where] if known else whole_numbers(new) - whole_numbers(old)
        wide = domain.wide_of(part)
        narrow = steps.copy()
        narrow[wide] = 0
        if narrow.size and max(int(narrow.max()), -int(narrow.min())) * weight > most:
            raise ValueError(
                f"{max(int(narrow.max()), -int(narrow.min())) / 2**40:.3g} times a weight of {weight}: segment "
                f"{part.segment} of the update has moved too far to be summed under masks; lower training.learning_rate"
            )
        high, low = halves(steps[wide])
        narrow[wide] = low
        narrow *= weight
        found += [narrow.view(np.uint64), (high * weight).view(np.uint64)]
    found.append(np.array(weights, np.uint64))
    return np.concatenate(found)


def sums_of(domain: Domain, total: Words, before: Weights) -> list[MaskedSum]:
    """What the unmasked ``total`` of all contributors' words says of each part: weights, and sums by halves as
    WeightedMean holds them. ``before`` is the model that all came from. ValueError where a weight is none."""
    weights = total[total.size - len(domain.parts) :]
    if weights.max() > MAX_EXAMPLES:  # what goes below 0 comes back from above
        raise ValueError("a weight of its parts is none, so a hospital has not masked what it should have")
    found, start = [], 0
    for part, weight in zip(domain.parts, weights.tolist(), strict=True):
        count, wide = len(range(*part.where.indices(domain.sizes[part.segment]))), domain.wide_of(part)
        steps = total[start : start + count].view(np.int64)
        upper = total[start + count : start + count + len(wide)].view(np.int64)
        start += count + len(wide)
        high, low = halves(steps)
        high[wide] += upper  # what is in the second word of these, and what the first carries
        came_high, came_low = halves(whole_numbers(np.ascontiguousarray(before[part.segment][part.where])))
        found.append(MaskedSum(part.segment, part.where, high + came_high * weight, low + came_low * weight, weight))
    return found


def name_of(number: int) -> str:
    """How the words of a domain are called on the way."""
    return f"masked {number}"
