"""FedAvg as exact integer arithmetic: the order in which updates arrive changes no bit.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017: the new
weights are the mean of the hospitals' weights, weighted by their number of examples. Sums of floating-point numbers
depend on their order; sums of integers do not, so every value is rounded once to a multiple of RESOLUTION and then
added exactly. A value that no sum of steps has moved on that grid keeps its bits, so what is frozen stays what it was.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.settings import MAX_EXAMPLES

FRACTION_BITS = 40
RESOLUTION = 2.0**-FRACTION_BITS  # a value is off by at most half of this, 4.5e-13
LIMIT = 2.0 ** (62 - FRACTION_BITS)  # values must be smaller than this, about 4.2 million

_LOW_BITS = 32
_LOW_MASK = np.int64((1 << _LOW_BITS) - 1)
_BLOCK = 1 << 14  # values at a time: what lies between float and sum stays in the processor's cache
_SCALE = np.float32(2.0**FRACTION_BITS)


class WeightedMean:
    """Running weighted mean of float32 vectors of one length.

    Each value becomes an integer of at most 62 bits, held in two 32-bit halves; each half is multiplied by the number
    of examples and added in int64, which cannot overflow below MAX_EXAMPLES. Takes 16 bytes a value.
    """

    def __init__(self, size: int) -> None:
        self._high = np.zeros(size, np.int64)
        self._low = np.zeros(size, np.int64)
        self._weights: list[int] = []

    @property
    def num_examples(self) -> int:
        return sum(self._weights)

    def add(self, values: NDArray[np.float32], num_examples: int) -> None:
        """Add one hospital's values with its weight. Raises ValueError, leaving the mean as it was, when a value is not
        finite or too large, or the weight is not a positive whole number."""
        if values.shape != self._high.shape:
            raise ValueError(f"expected {self._high.size} values, got an array of shape {values.shape}")
        if num_examples <= 0:
            raise ValueError(f"num_examples must be above 0, got {num_examples}")
        if self.num_examples + num_examples > MAX_EXAMPLES:
            raise ValueError(f"more than {MAX_EXAMPLES} examples in one round")
        self._sum(values, num_examples)
        self._weights.append(num_examples)

    def remove(self, values: NDArray[np.float32], num_examples: int) -> None:
        """Take out again what was added: the sum is exact, so it is as if it had never been there."""
        self._weights.remove(num_examples)
        self._sum(values, -num_examples)

    def add_sum(self, found: "MaskedSum") -> None:
        """Add what is known of several hospitals at once. Raises ValueError where their weight is none."""
        if not 0 <= found.weight <= MAX_EXAMPLES - self.num_examples:
            raise ValueError(f"the hospitals' weights add up to {found.weight}")
        if found.weight:
            self._high += found.high
            self._low += found.low
            self._weights.append(found.weight)

    def _sum(self, values: NDArray[np.float32], num_examples: int) -> None:
        size, weight = min(_BLOCK, values.size), np.int64(num_examples)
        scaled, fixed, part = np.empty(size, np.float32), np.empty(size, np.int64), np.empty(size, np.int64)
        for start in range(0, values.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            count = min(_BLOCK, values.size - start)
            if not all_below(values[block], LIMIT):  # here, where they come into the cache anyhow
                if start:
                    self._sum(values[:start], -num_examples)
                raise ValueError(f"values must be finite and below {LIMIT:.0f} in size")
            given, whole, half = scaled[:count], fixed[:count], part[:count]
            # Scaling by a power of two is exact, and a float32 that has a fraction is below 2^24: no float64 needed.
            np.multiply(values[block], _SCALE, out=given)
            np.rint(given, out=given)
            np.copyto(whole, given, casting="unsafe")
            np.right_shift(whole, _LOW_BITS, out=half)
            np.multiply(half, weight, out=half)
            self._high[block] += half
            np.bitwise_and(whole, _LOW_MASK, out=whole)
            np.multiply(whole, weight, out=whole)
            self._low[block] += whole

    def mean(self, before: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weighted mean: a function of the exact quotient, so that equal weights give the same bits whatever they
        are, and a sum that came as one those of its parts. Where it is what the value ``before`` is on the grid, that
        value stays. Raises ValueError when nothing was added: there is no mean of nothing."""
        if not self.num_examples:
            raise ValueError("no hospital has given an update, so there is nothing to average")
        total, found = np.int64(self.num_examples), np.empty(self._high.size, np.float32)
        for start in range(0, found.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            low = self._low[block]
            high = self._high[block] + (low >> _LOW_BITS)  # the sum is high * 2^32 + a low half from 0 to 2^32
            upper = high // total
            rest = (high - upper * total) << _LOW_BITS | (low & _LOW_MASK)  # below 2^63, as total is below 2^31
            lower = rest // total
            # The whole number, then the fraction: both depend on the quotient alone, however it came about.
            whole = (upper << _LOW_BITS) + lower
            rest -= lower * total
            found[block] = (whole + rest / total) * RESOLUTION
            old = before[block]
            np.copyto(found[block], old, where=(rest == 0) & (whole == whole_numbers(old)))
        return found


def whole_numbers(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Multiples of RESOLUTION, of values below LIMIT."""
    return np.rint(values * _SCALE).astype(np.int64)


def halves(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(high, low) with number = high * 2^32 + low."""
    return numbers >> _LOW_BITS, numbers & _LOW_MASK


@dataclass(frozen=True)
class MaskedSum:
    """The weighted sum of what several hospitals have where ``where`` is in ``segment``, single ones not being known:
    ``high * 2^32 + low`` multiples of RESOLUTION, with a ``weight`` in all."""

    segment: str
    where: slice
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    weight: int


def all_below(values: NDArray[np.float32], limit: float) -> bool:
    """Whether all values are finite and smaller than ``limit`` in size; makes no copy of them."""
    # NaN is carried through by min and max, and no comparison with it is true.
    return not values.size or bool(values.max() < limit and values.min() > -limit)
