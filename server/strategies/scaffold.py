"""scaffold: the mean of the models, and of the hospitals' control variates, which the next round's tasks bring back.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020. The common control
variate is the mean of the hospitals' own. Each tells by how much its own has changed, so only those that answer move
it, by their share of all: |S| / N in the paper, counted in training pairs here, because the means are weighed. The
hospital's side is in common/training/control_variates.py.
"""

import numpy as np

from fedthorax.common.config.strategy import StrategySettings
from fedthorax.common.model.segments import CONTROL, Weights
from fedthorax.server.strategies.mean import Mean
from fedthorax.server.strategies.update import RoundShape, Segments, State, Strategy, Update


class Controlled:
    """Two means with the same weights: of the models, and of the changes of the control variates."""

    def __init__(self, shape: RoundShape) -> None:
        self._models, self._controls, self._shape = Mean(shape), Mean(shape), shape

    @property
    def num_examples(self) -> int:
        return self._models.num_examples

    def add(self, update: Update) -> None:
        if set(update.control) != set(update.weights):
            raise ValueError("federation.strategy scaffold needs a control variate with every segment of the update")
        self._models.add(update)
        self._controls.add(
            Update(update.site, update.control, update.num_pairs, update.counts, update.loss, update.control)
        )

    def result(self, before: Weights) -> Segments:
        share = min(1.0, self.num_examples / self._shape.all_pairs) if self._shape.all_pairs else 1.0
        unchanged = {segment: np.zeros(size, np.float32) for segment, size in self._shape.sizes.items()}
        changes = self._controls.result(unchanged)
        found = self._models.result(before)
        return found | {CONTROL + name: (share * values).astype(np.float32) for name, values in changes.items()}

    def close(self) -> None:
        """Nothing is kept outside of memory."""


def _step(
    settings: StrategySettings, shape: RoundShape, before: Weights, found: Segments, state: State
) -> tuple[Segments, State]:
    after, kept = {}, dict(state)
    rate = settings.server_learning_rate or 1.0
    for name, values in found.items():
        if name.startswith(CONTROL):
            kept[name] = kept[name] + values if name in kept else values
        elif rate == 1.0:
            after[name] = values
        else:
            after[name] = (before[name] + rate * (values - before[name])).astype(np.float32)
            for where in shape.statistics.get(name, ()):
                after[name][where] = values[where]
    return after, kept


def _told(state: State) -> Segments:
    return {name: values for name, values in state.items() if name.startswith(CONTROL)}


SCAFFOLD = Strategy(lambda settings, shape: Controlled(shape), _step, _told)
