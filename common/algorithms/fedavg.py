"""fedavg: the weighted mean of the hospitals' models.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
"""

from collections.abc import Sequence
from dataclasses import replace

from fedthorax.common.algorithms.aggregation import MaskedSum
from fedthorax.common.algorithms.algorithm import (
    Algorithm,
    Refuses,
    RoundShape,
    Segments,
    State,
    Update,
    Weights,
    one_is_enough,
)
from fedthorax.common.algorithms.branchwise import Counts, FederatedAverage
from fedthorax.common.algorithms.settings import StrategySettings


class Mean:
    """The mean by pairs, or by parts; it streams: no update is kept."""

    def __init__(self, settings: StrategySettings, shape: RoundShape) -> None:
        self.settings, self.shape = settings, shape
        self._average = FederatedAverage(shape.sizes, shape.parts)

    @property
    def num_examples(self) -> int:
        return self._average.num_examples

    def add(self, update: Update) -> None:
        self._average.add(update.weights, self._weighs(update))

    def remove(self, update: Update) -> None:
        self._average.remove(update.weights, self._weighs(update))

    def add_sums(self, sums: Sequence[MaskedSum]) -> None:
        self._average.add_sums(sums)

    def _weighs(self, update: Update) -> Counts:
        return update.num_pairs if self.shape.parts is None else update.counts

    def mean(self, before: Weights) -> Segments:
        return self._average.result(before)

    def still(self, segment: str) -> Sequence[slice]:
        """Where the values stay as they were: frozen in this phase, or with nothing behind them at who answered."""
        return (*self.shape.frozen.get(segment, ()), *self._average.unsaid(segment))

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        return self.mean(before), state

    def close(self) -> None:
        """Nothing is kept outside of memory."""


class MeanOfBoth(Mean):
    """And the mean of what comes beside the updates, with the same weights."""

    def __init__(self, settings: StrategySettings, shape: RoundShape) -> None:
        super().__init__(settings, shape)
        self._beside = Mean(settings, shape)

    def add(self, update: Update) -> None:
        super().add(update)
        self._beside.add(replace(update, weights=update.beside))

    def remove(self, update: Update) -> None:
        super().remove(update)
        self._beside.remove(replace(update, weights=update.beside))

    def mean_beside(self, before: Weights) -> Segments:
        return self._beside.mean(before)


ALL_GOES = Refuses(codecs=None, tokens=None, masks=None, least_sites=one_is_enough)
FEDAVG = Algorithm(ALL_GOES, Mean)
