"""Whether an update is far outside the others: a poisoned or broken hospital often shows in the size of its step.

The norm of a step (new weights less the weights sent out) depends on learning rate, data and phase, and varies by
factors, not by amounts, so logarithms are compared. The reference are the steps of the last rounds of the same phase
and those of the round's hospitals that have answered already. With the median and the median absolute deviation (Huber
and Ronchetti, "Robust Statistics", 2009) nearly half of them may be wild without moving the yardstick far.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fedthorax.common.model.segments import Weights

WINDOW = 3  # rounds before this one
FEWEST = 4  # norms below which there is no telling what is usual
_TO_DEVIATION = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution
SMALLEST_DEVIATION = 0.25  # of log norms: steps within 30 % of each other are alike, however close the rest are
_BLOCK = 1 << 13  # values at a time: they stay in the processor's cache, and the linear algebra in one thread


def step_norm(update: Weights, before: Weights) -> float:
    """Euclidean norm of the change over all segments of ``update``."""
    total, new, old = 0.0, np.empty(_BLOCK, np.float64), np.empty(_BLOCK, np.float64)
    for segment, values in update.items():
        for start in range(0, values.size, _BLOCK):
            block, count = slice(start, start + _BLOCK), min(_BLOCK, values.size - start)
            step, sent = new[:count], old[:count]
            step[:], sent[:] = values[block], before[segment][block]
            step -= sent
            total += float(np.dot(step, step))
    return math.sqrt(total)


def unusual(norm: float, others: Sequence[float], deviations: float) -> str | None:
    """A sentence where ``norm`` lies more than ``deviations`` robust standard deviations from the ``others``, in
    logarithms; None where it does not, or where the others are too few."""
    logs = [math.log(other) for other in others if other > 0]
    if len(logs) < FEWEST:
        return None
    middle = statistics.median(logs)
    usual = math.exp(middle)
    if norm <= 0:
        return f"the update changes nothing; others change the weights by {usual:.3g} (norm)"
    spread = max(_TO_DEVIATION * statistics.median(abs(log - middle) for log in logs), SMALLEST_DEVIATION)
    distance = (math.log(norm) - middle) / spread
    if abs(distance) <= deviations:
        return None
    factor = norm / usual if norm > usual else usual / norm
    return (
        f"the update changes the weights by {norm:.3g} (norm), {factor:.3g} times {'more' if norm > usual else 'less'} "
        f"than usual ({usual:.3g}, median of {len(logs)}): {abs(distance):.1f} robust standard deviations away, more "
        f"than {deviations:g}"
    )


def earlier_norms(rounds: Sequence[Mapping[str, Any]], phase_index: int) -> list[float]:
    """Norms of the updates of the last rounds of this phase, and of those that are already in."""
    recent: Iterable[Mapping[str, Any]] = rounds[-WINDOW - 1 :]
    return [
        site["update_norm"]
        for entry in recent
        if (entry.get("phase") or {}).get("index") == phase_index
        for site in entry["sites"].values()
        if site.get("update_norm") is not None
    ]
