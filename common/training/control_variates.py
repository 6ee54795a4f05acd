"""The correction of SCAFFOLD: what pulls every hospital towards its own minimum is taken off its gradients.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020, algorithm 1: a
hospital steps along its gradient less its own control variate plus the common one. Its next control variate is the mean
of the gradients of its steps, uncorrected. For plain gradient descent that is option II of the paper, which works it
out from the weights, (before - after) / (steps * rate); with another optimiser it still is a mean gradient, which the
quotient would not be.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = Mapping[str, NDArray[np.float32]]


def corrected_gradients(gradients: Sequence[Any], corrections: Sequence[Any]) -> list[Any]:
    """``corrections`` are the common control variate less the hospital's own. None stays None: the loss does not depend
    on such a variable."""
    return [
        gradient if gradient is None else gradient + correction
        for gradient, correction in zip(gradients, corrections, strict=True)
    ]


def correction(common: Vectors, own: Vectors, segments: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The common control variate less the hospital's own, by segment; one that is not there yet counts as 0."""
    found = {}
    for segment in segments:
        if segment in common or segment in own:
            shape = common[segment] if segment in common else own[segment]
            zero = np.zeros_like(shape)
            found[segment] = common.get(segment, zero) - own.get(segment, zero)
    return found


def change(after: Vectors, before: Vectors) -> dict[str, NDArray[np.float32]]:
    """What the hospital tells of its new control variate; the first time all of it."""
    return {segment: values - before[segment] if segment in before else values for segment, values in after.items()}
