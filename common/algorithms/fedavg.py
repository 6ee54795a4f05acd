"""fedavg: the weighted mean of the hospitals' models.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
"""

from collections.abc import Sequence

from fedthorax.common.algorithms.aggregation import FederatedAverage, MaskedSum
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
from fedthorax.common.algorithms.branchwise import BranchwiseAverage
from fedthorax.common.algorithms.settings import StrategySettings


class Mean:
    """The mean by pairs, or by parts; it streams: no update is kept."""

    def __init__(self, settings: StrategySettings, shape: RoundShape) -> None:
        self.settings, self.shape = settings, shape
        self._average: FederatedAverage | BranchwiseAverage
        if shape.parts is None:
            self._average = FederatedAverage(shape.sizes)
        else:
            self._average = BranchwiseAverage(shape.sizes, shape.parts)

    @property
    def num_examples(self) -> int:
        return self._average.num_examples

    def add(self, update: Update) -> None:
        if isinstance(self._average, BranchwiseAverage):
            self._average.add(update.weights, update.counts)
        else:
            self._average.add(update.weights, update.num_pairs)

    def remove(self, update: Update) -> None:
        if isinstance(self._average, BranchwiseAverage):
            self._average.remove(update.weights, update.counts)
        else:
            self._average.remove(update.weights, update.num_pairs)

    def add_sums(self, sums: Sequence[MaskedSum]) -> None:
        self._average.add_sums(sums)

    def mean(self, before: Weights) -> Segments:
        return self._average.result(before)

    def still(self, segment: str) -> Sequence[slice]:
        """Where the values stay as they were: frozen in this phase, or with nothing behind them at who answered."""
        return (*self.shape.frozen.get(segment, ()), *self._average.unsaid().get(segment, ()))

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        return self.mean(before), state

    def close(self) -> None:
        """Nothing is kept outside of memory."""


ALL_GOES = Refuses(codecs=None, tokens=None, masks=None, least_sites=one_is_enough)
FEDAVG = Algorithm(ALL_GOES, Mean)
