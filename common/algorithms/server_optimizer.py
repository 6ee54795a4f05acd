"""fedavgm, fedadam, fedyogi, fedadagrad: the step from the old model to the mean is a gradient for the server's own
optimiser.

FedAvgM: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
2019. The others: Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2, without bias correction, with
the second moment beginning at the square of the adaptivity as the paper asks.

Moving statistics of batch normalisation are no parameters: they become the mean, since a step with momentum could make
a variance negative. What is frozen in a phase, and what nobody has anything to say about, stays, and so do its moments.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.algorithm import Algorithm, RoundShape, Segments, State, Weights
from fedthorax.common.algorithms.fedavg import ALL_GOES, Mean
from fedthorax.common.algorithms.settings import StrategySettings

Array = NDArray[np.float64]
_ADAPTIVE_RATE = 0.01
# (settings, step to the mean, first moment, second moment) → (change of the model, first moment, second moment)
Rule = Callable[[StrategySettings, Array, Array, Array], tuple[Array, Array, Array]]


def _momentum(settings: StrategySettings, step: Array, first: Array, second: Array) -> tuple[Array, Array, Array]:
    first = settings.server_momentum * first + step
    return (settings.server_learning_rate or 1.0) * first, first, second


def _adaptive(second_moment: Callable[[StrategySettings, Array, Array], Array], keeps_direction: bool) -> Rule:
    def rule(settings: StrategySettings, step: Array, first: Array, second: Array) -> tuple[Array, Array, Array]:
        share = settings.server_momentum if keeps_direction else 0.0
        first = share * first + (1 - share) * step
        second = second_moment(settings, second, np.square(step))
        rate = settings.server_learning_rate or _ADAPTIVE_RATE
        return rate * first / (np.sqrt(second) + settings.adaptivity), first, second

    return rule


def _adam(settings: StrategySettings, second: Array, squares: Array) -> Array:
    return settings.second_momentum * second + (1 - settings.second_momentum) * squares


def _yogi(settings: StrategySettings, second: Array, squares: Array) -> Array:
    return second - (1 - settings.second_momentum) * squares * np.sign(second - squares)


def _adagrad(settings: StrategySettings, second: Array, squares: Array) -> Array:
    return second + squares


class Stepping(Mean):
    def __init__(self, settings: StrategySettings, shape: RoundShape, rule: Rule) -> None:
        super().__init__(settings, shape)
        self._rule = rule

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        settings, after, kept = self.settings, {}, dict(state)
        for segment, mean in self.mean(before).items():
            old = before[segment].astype(np.float64)
            # A segment that is trained for the first time has no past.
            moments = [
                kept.get(f"{name}.{segment}", np.full(old.size, start, np.float32))
                for name, start in (("first", 0), ("second", settings.adaptivity**2))
            ]
            step = mean.astype(np.float64) - old
            change, *moved = self._rule(settings, step, *(moment.astype(np.float64) for moment in moments))
            for where in self.still(segment):
                change[where] = 0
                for now, then in zip(moved, moments, strict=True):
                    now[where] = then[where]
            after[segment] = (old + change).astype(np.float32)
            for where in self.shape.statistics.get(segment, ()):
                after[segment][where] = mean[where]
            kept[f"first.{segment}"], kept[f"second.{segment}"] = (moment.astype(np.float32) for moment in moved)
        return after, kept


def _stepping(rule: Rule) -> Algorithm:
    return Algorithm(ALL_GOES, lambda settings, shape: Stepping(settings, shape, rule))


FEDAVGM = _stepping(_momentum)
FEDADAM = _stepping(_adaptive(_adam, keeps_direction=True))
FEDYOGI = _stepping(_adaptive(_yogi, keeps_direction=True))
FEDADAGRAD = _stepping(_adaptive(_adagrad, keeps_direction=False))
