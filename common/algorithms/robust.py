"""median, trimmed_mean, krum, multi_krum, bulyan: what a few spoilt hospitals cannot move far.

Median and trimmed mean: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML
2018. Krum and Multi-Krum: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
NeurIPS 2017. Bulyan: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium",
ICML 2018. All take each hospital for one, whatever its size: a large number of images is easily claimed.

Whole updates are compared by what is trained alone. Moving statistics of batch normalisation move by hundreds of times
as much, and at one honest hospital farther than at another: they would decide alone who is chosen. They become the
median of all hospitals instead, so that nobody is chosen for its weights and brings statistics of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.algorithm import (
    Algorithm,
    Refuses,
    RoundShape,
    Segments,
    State,
    Weights,
    one_is_enough,
)
from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.algorithms.settings import StrategySettings
from fedthorax.common.algorithms.spool import Spool

Values = NDArray[np.float64]
Rule = Callable[[Values], Values]  # (sites, values) → values
Distances = Mapping[tuple[str, str], float]
Choice = Callable[[StrategySettings, Spool], tuple[str, ...]]


class Robust(Spool):
    """``choose`` picks hospitals by their whole updates, None: all; ``combine`` makes one value of theirs at every
    place."""

    def __init__(
        self, shape: RoundShape, choose: Callable[[Spool], tuple[str, ...]] | None, combine: Callable[[int], Rule]
    ) -> None:
        super().__init__(shape)
        self._choose, self._combine = choose, combine

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        sites = self.sites
        chosen = set(self._choose(self)) if self._choose else {*sites}
        found = {part.segment: before[part.segment].copy() for part in self.parts}

        def fill(part: Part, holders: tuple[str, ...], combine: Rule) -> None:
            target = found[part.segment][part.where]
            for block, values in self.blocks(part, holders):
                target[block] = combine(values).astype(np.float32)

        for part in self.parts:
            holders = tuple(site for site in self.holders(part) if site in chosen)
            fill(part, holders, self._combine(len(holders)))
        if self._choose:
            for segment, places in self._shape.statistics.items():
                for where in places:
                    fill(Part(segment, where), sites, median)
        return found, state


def median(values: Values) -> Values:
    """Of an even number the mean of the two in the middle."""
    middle: Values = np.median(values, axis=0)
    return middle


def trimmed_mean(values: Values, trim: float) -> Values:
    """Mean without the ``trim`` (a share, rounded down to whole hospitals) largest and smallest at every place."""
    cut = int(trim * len(values) + 1e-9)  # 0.29 * 100 is 28.999…
    ordered = np.sort(values, axis=0)[cut : len(values) - cut]
    mean: Values = ordered.mean(axis=0)
    return mean


def closest_to_median(values: Values, number: int) -> Values:
    """Mean of the ``number`` values that are nearest to the median, at every place."""
    order = np.argsort(np.abs(values - np.median(values, axis=0)), axis=0, kind="stable")[:number]
    mean: Values = np.sort(np.take_along_axis(values, order, axis=0), axis=0).mean(axis=0)
    return mean


def distances(spool: Spool) -> Distances:
    """Squared distances between all that the hospitals have trained; ValueError where they do not hold the same
    segments."""
    found: dict[tuple[str, str], float] = {}
    sites = spool.sites
    for part in spool.parts:
        trained = spool.trained(part)
        for block, values in spool.blocks(part, sites):
            for i, one in enumerate(sites):
                for j in range(i + 1, len(sites)):
                    step = (values[i] - values[j]) * trained[block]
                    found[one, sites[j]] = found.get((one, sites[j]), 0.0) + float(step @ step)
    return found | {(b, a): distance for (a, b), distance in found.items()}


def krum_order(sites: tuple[str, ...], apart: Distances, malicious: int) -> list[str]:
    """The hospitals by Krum's score, best first: the sum of the squared distances to the n - f - 2 nearest others."""
    nearest = max(1, len(sites) - malicious - 2)

    def score(site: str) -> float:
        return sum(sorted(apart[site, other] for other in sites if other != site)[:nearest])

    return sorted(sites, key=lambda site: (score(site), site))


def bulyan_choice(sites: tuple[str, ...], apart: Distances, malicious: int) -> tuple[str, ...]:
    """Krum's best, then Krum's best of the others, and so on: n - 2 f hospitals."""
    left, chosen = sites, []
    for _ in range(len(sites) - 2 * malicious):
        best = krum_order(left, apart, malicious)[0] if len(left) > 1 else left[0]
        chosen.append(best)
        left = tuple(site for site in left if site != best)
    return tuple(chosen)


def _mean(values: Values) -> Values:
    mean: Values = np.sort(values, axis=0).mean(axis=0)  # sorted: the bits depend on no order of names
    return mean


def _krum(number: Callable[[StrategySettings, int], int]) -> Choice:
    def choose(settings: StrategySettings, spool: Spool) -> tuple[str, ...]:
        order = krum_order(spool.sites, distances(spool), settings.malicious_sites)
        return tuple(order[: number(settings, len(order))])

    return choose


def _bulyan(settings: StrategySettings, spool: Spool) -> tuple[str, ...]:
    return bulyan_choice(spool.sites, distances(spool), settings.malicious_sites)


def _robust(refuses: Refuses, choose: Choice | None, combine: Callable[[StrategySettings, int], Rule]) -> Algorithm:
    def aggregate(settings: StrategySettings, shape: RoundShape) -> Robust:
        return Robust(shape, choose and partial(choose, settings), partial(combine, settings))

    return Algorithm(refuses, aggregate)


_PLACES = Refuses(codecs=None, tokens=None, masks="which compares single values", least_sites=one_is_enough)
_WHOLE = replace(_PLACES, tokens="which compares whole updates", masks="which compares whole updates")
_KRUM = replace(_WHOLE, least_sites=lambda settings: 2 * settings.malicious_sites + 3)
_BULYAN = replace(_WHOLE, least_sites=lambda settings: 4 * settings.malicious_sites + 3)

MEDIAN = _robust(_PLACES, None, lambda _, __: median)
TRIMMED_MEAN = _robust(_PLACES, None, lambda s, _: lambda values: trimmed_mean(values, s.trim))
KRUM = _robust(_KRUM, _krum(lambda _, __: 1), lambda _, __: _mean)
MULTI_KRUM = _robust(_KRUM, _krum(lambda s, n: max(1, n - s.malicious_sites)), lambda _, __: _mean)
BULYAN = _robust(
    _BULYAN, _bulyan, lambda s, n: lambda values: closest_to_median(values, max(1, n - 2 * s.malicious_sites))
)
