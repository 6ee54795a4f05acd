"""How far an update has moved the weights: what training can have moved at most, and how far the others moved them.

A hospital's Adam begins anew in every task, so a value's steps are bounded without any history. With m the mean of the
gradients and v that of their squares, Cauchy and Schwarz give

    |m_t| / sqrt(v_t) <= (1 - b1) / sqrt(1 - b2) * sqrt(sum over i < t of (b1^2 / b2)^i),

and Kingma and Ba's corrections for the start (ICLR 2015, algorithm 1) multiply it by sqrt(1 - b2^t) / (1 - b1^t). It is
1 in the first step, 1.04 in the tenth, and 7.3 in the end; the sum over the steps is how many learning rates a value
can have moved, whatever the gradients were. Moving statistics are not moved by Adam: of a variance, which is a mean of
numbers that are not negative, as much is left after each step as their momentum says; a mean is measured in standard
deviations.

Steps of one round are compared by the logarithm of their norms over the square root of their number, with the median:
nearly half of them may be wild without moving the yardstick far. Each encoder, and what comes after them, is compared
by itself among those who sent it: where CT's encoder is trained, a hospital with X-rays alone moves much less of the
model. Only trained values make the norm: where an encoder begins to be trained the statistics behind it move by
hundreds of times what weights move, and at one honest hospital fourteen times as far as at another. Their directions
are not compared. On real images an honest hospital's step stands almost at right angles to the mean of the others', and
with unequal labels it points away from it (docs/rounds.md), so a step that was turned round cannot be told from one of
other patients.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedthorax.common.model.segments import SegmentLayout, Weights
from fedthorax.common.training.adam import BETA_1, BETA_2

LARGEST_BESIDE = 100.0  # times what is usual: honest hospitals of one round were seen at 0.6 to 1.5 times
_EPSILON = 1e-3  # Keras normalises by variance + this; the variance of a unit that was silent is nearly 0
PARTS, _AFTER = {"xray": "the X-ray encoder", "ct": "the CT encoder"}, "fusion and heads"
FEWEST = 3  # hospitals below which there is no telling what is usual
_LIMIT = (1 - BETA_1) / math.sqrt((1 - BETA_2) * (1 - BETA_1**2 / BETA_2))  # of one step, 7.27 learning rates
_AT_LIMIT = 20_000  # steps after which a step's bound differs from it by less than 1e-8


def adam_reach(steps: int) -> float:
    """By how many learning rates so many steps of a new Adam can have moved a value, without weight decay."""
    t = np.arange(1, min(steps, _AT_LIMIT) + 1, dtype=np.float64)
    start = np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
    each = _LIMIT * start * np.sqrt(1 - (BETA_1**2 / BETA_2) ** t)
    return float(each.sum()) + _LIMIT * max(0, steps - _AT_LIMIT)


@dataclass(frozen=True)
class Step:
    """``norms`` are the Euclidean norms of the change of all trained values, by part of the model. ``farthest`` is
    the largest change of one, ``variable`` the one that it stands in, ``largest`` the largest incoming value there
    is, in size. ``left`` is the smallest share that is left of a moving variance, ``grown`` the largest factor by
    which one grew, ``shifted`` the most standard deviations, of before or after, by which a moving mean moved; all
    three as normalisation sees them, with their variables."""

    norms: Mapping[str, float]
    farthest: float
    variable: str
    largest: float
    left: tuple[float, str]
    grown: tuple[float, str]
    shifted: tuple[float, str]

    @property
    def norm(self) -> float:
        return math.hypot(*self.norms.values())

    def paces(self, steps: int) -> dict[str, float]:
        """By part of the model: what is compared with other hospitals'."""
        return {part: norm / math.sqrt(steps) for part, norm in self.norms.items()}

    @property
    def is_none(self) -> bool:
        return not self.norm and not self.shifted[0] and self.left[0] == self.grown[0] == 1


def measured(update: Weights, before: Weights, layout: SegmentLayout) -> Step:
    """``update`` holds finite float32 vectors; ``before`` holds the same segments."""
    squares, farthest, variable, largest = dict[str, float](), 0.0, "", 0.0
    left, grown, shifted = (1.0, ""), (1.0, ""), (0.0, "")
    for segment, values in update.items():
        slot_of = {slot.name: slot for slot in layout.slots[segment]}
        for slot in layout.slots[segment]:
            new, old = values[slot.start : slot.stop], before[segment][slot.start : slot.stop]
            if not new.size:
                continue
            change = new - old
            if slot.name.endswith("moving_mean"):
                variance = slot_of[slot.name.removesuffix("mean") + "variance"]
                wider = np.maximum(*(of[segment][variance.start : variance.stop] for of in (update, before)))
                # A variance below 0 is refused for what is left of it.
                moved = float((np.abs(change) / np.sqrt(np.maximum(wider, 0) + _EPSILON, dtype=np.float64)).max())
                shifted = max(shifted, (moved, slot.name))
            elif slot.name.endswith("moving_variance"):
                ratio = (new.astype(np.float64) + _EPSILON) / (old + _EPSILON)
                left = min(left, (float(ratio.min()), slot.name))
                grown = max(grown, (float(ratio.max()), slot.name))
            else:
                part = PARTS.get(segment.partition(".")[0], _AFTER)
                squares[part] = squares.get(part, 0.0) + float(np.einsum("i,i", change, change, dtype=np.float64))
                largest = max(largest, float(old.max()), -float(old.min()))
                moved = max(float(change.max()), -float(change.min()))
                if moved > farthest:
                    farthest, variable = moved, slot.name
    norms = {part: math.sqrt(square) for part, square in squares.items()}
    return Step(norms, farthest, variable, largest, left, grown, shifted)


def far_from_others(paces: Mapping[str, Mapping[str, float]], factor: float) -> dict[str, str]:
    """A sentence for each hospital of a round whose pace in a part of the model, its norm over the square root of its
    steps, is more than ``factor`` times the median or less than one ``factor``-th of it; nothing where fewer than
    FEWEST moved that part. ``paces`` by hospital and part; 0 is no pace: without a fusion a hospital's labels may teach
    one encoder alone, and what begins at 0 gives the layers before it no gradient in the first step."""
    found: dict[str, str] = {}
    for part in (*PARTS.values(), _AFTER):
        moved = {site: own[part] for site, own in paces.items() if own.get(part)}
        usual = statistics.median(moved.values()) if len(moved) >= FEWEST else 0.0
        for site, pace in moved.items():
            if usual and max(pace, usual) / min(pace, usual) > factor:
                found.setdefault(
                    site,
                    f"by its steps the update moves {part} {pace / usual:.3g} times as far as usual (median of "
                    f"{len(moved)}); a factor of {factor:g} is allowed (federation.unusual_factor)",
                )
    return found


def long_beside(lengths: Mapping[str, float]) -> dict[str, str]:
    """A sentence for each hospital of a round whose vectors beside its update are much longer than those of the others:
    one could own a mean that all train by from then on. ``lengths`` are Euclidean norms, by hospital."""
    usual, allowed = statistics.median(lengths.values()) if len(lengths) >= FEWEST else 0.0, LARGEST_BESIDE
    return {
        site: f"what comes beside its update is {length / usual:.3g} times as long as usual (median of "
        f"{len(lengths)}); a factor of {allowed:g} is allowed"
        for site, length in lengths.items()
        if usual and length > allowed * usual
    }
