"""fedbn: the weighted mean of all but batch normalisation, which stays at the hospitals.

Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021.
What leaves a hospital holds in the place of its own values those that came.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fedthorax.common.algorithms.algorithm import (
    Algorithm,
    AtHospital,
    Layout,
    Leaving,
    Segments,
    State,
    Trained,
    Weights,
)
from fedthorax.common.algorithms.fedavg import ALL_GOES, Mean

Wheres = Mapping[str, Sequence[slice]]


class MeanButOwn(Mean):
    """The mean, with the server's own values where the hospitals have theirs."""

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        found = self.mean(before)
        wheres = {segment: self.shape.batch_norm.get(segment, ()) for segment in found}
        return _with(wheres, found, _taken(wheres, before)), state


def arrive(layout: Layout, came: Weights, kept: Weights) -> Weights:
    """The model that came, with the hospital's own normalisation; its first time as it came."""
    return {**came, **_with(_wheres(layout, kept), {segment: came[segment] for segment in kept}, kept)}


def leave(trained: Trained) -> Leaving:
    layout, update = trained.layout, trained.update
    keep = {**trained.began, **update}
    foreign = _taken(_wheres(layout, update), trained.came)
    return Leaving(_with(_wheres(layout, update), update, foreign), keep=_taken(_wheres(layout, keep), keep))


def _wheres(layout: Layout, segments: Weights) -> Wheres:
    return {segment: layout.batch_norm(segment) for segment in segments}


def _taken(wheres: Wheres, weights: Weights) -> Segments:
    """The values at ``wheres``, a vector a segment; segments without any are left out."""
    return {
        segment: np.concatenate([weights[segment][where] for where in found])
        for segment, found in wheres.items()
        if found
    }


def _with(wheres: Wheres, weights: Weights, own: Weights) -> Segments:
    """A copy of ``weights`` that holds ``own`` at ``wheres``."""
    changed = {segment: values.copy() for segment, values in weights.items()}
    for segment, values in own.items():
        start = 0
        for where in wheres[segment]:
            stop = start + where.stop - where.start
            changed[segment][where] = values[start:stop]
            start = stop
    return changed


FEDBN = Algorithm(
    ALL_GOES,
    MeanButOwn,
    hospital=AtHospital(arrive=arrive, leave=leave, keeps="batch normalisation of the network"),
    measures_batch_norm=True,
    caution=(
        "Batch normalisation stays at the hospitals.",
        "Each hospital's figures are of the common model with its own; the central ones are of the model with the "
        "statistics of the server's validation images.",
    ),
)
