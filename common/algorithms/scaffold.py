"""scaffold: what pulls every hospital towards its own minimum is taken off its gradients.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020, algorithm 1: a
hospital steps along its gradient less its own control variate plus the common one. Its next control variate is the mean
of the gradients of its steps, uncorrected. For plain gradient descent that is option II of the paper, which works it
out from the weights, (before - after) / (steps * rate); with another optimiser it still is a mean gradient, which the
quotient would not be.

The common control variate is the mean of the hospitals' own. Each tells by how much its own has changed, so only those
that answer move it, by their share of all: |S| / N in the paper, counted in training pairs here, because the means are
weighed. The server remembers it, by segment.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedthorax.common.algorithms.algorithm import (
    Algorithm,
    AtHospital,
    Gathering,
    Leaving,
    Segments,
    State,
    Trained,
    Weights,
)
from fedthorax.common.algorithms.fedavg import ALL_GOES, MeanOfBoth


class Controlled(MeanOfBoth):
    """Of the models, and of the changes of the control variates."""

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        share = min(1.0, self.num_examples / self.shape.all_pairs) if self.shape.all_pairs else 1.0
        unchanged = {segment: np.zeros(size, np.float32) for segment, size in self.shape.sizes.items()}
        kept, after = dict(state), {}
        for name, values in self.mean_beside(unchanged).items():
            moved = (share * values).astype(np.float32)
            kept[name] = kept[name] + moved if name in kept else moved
        rate = self.settings.server_learning_rate or 1.0
        for name, values in self.mean(before).items():
            if rate == 1.0:
                after[name] = values
                continue
            after[name] = (before[name] + rate * (values - before[name])).astype(np.float32)
            for where in self.shape.statistics.get(name, ()):
                after[name][where] = values[where]
        return after, kept


class Corrected(Gathering):
    def change(self, gradients: Sequence[Any]) -> Sequence[Any]:
        self.gather(gradients)
        return corrected(gradients, self.given)


def corrected(gradients: Sequence[Any], corrections: Sequence[Any]) -> list[Any]:
    return [
        gradient if gradient is None else gradient + correction
        for gradient, correction in zip(gradients, corrections, strict=True)
    ]


def correction(common: Weights, own: Weights, segments: Sequence[str]) -> Segments:
    """The common control variate less the hospital's own, by segment; one that is not there yet counts as 0."""
    found = {}
    for segment in segments:
        if segment in common or segment in own:
            shape = common[segment] if segment in common else own[segment]
            zero = np.zeros_like(shape)
            found[segment] = common.get(segment, zero) - own.get(segment, zero)
    return found


def leave(trained: Trained) -> Leaving:
    """What leaves is the change of the hospital's control variate; the first time all of it."""
    new, old = trained.gathered, trained.kept
    change = {name: values - old[name] if name in old else values for name, values in new.items()}
    return Leaving(trained.update, change, {**old, **new})


SCAFFOLD = Algorithm(
    replace(
        ALL_GOES,
        codecs="whose control variates travel exactly",
        masks="which needs each hospital's share of all pairs",
    ),
    Controlled,
    tell=lambda state: state,
    hospital=AtHospital(
        step=Corrected,
        give=correction,
        leave=leave,
        keeps="the mean of the gradients of the last trainings",
        sends="the mean of the gradients of the training, as a change from the round before",
        keep_rounds=4,  # as large as the model: a server that goes on from an older checkpoint starts anew
    ),
)
