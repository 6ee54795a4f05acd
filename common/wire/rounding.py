"""Differences rounded to whole multiples of a step, one step for every 256 values.

Uniform rounding, blockwise as Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", ICLR 2016. The step is
as small as the number of bits allows, and not smaller than a share of the block's root mean square: what is left out
comes later through error feedback, and fewer different codes take fewer bits once they are compressed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
_BLOCKS_AT_ONCE = 1024  # their temporaries fit into the processor's cache
# Steps are powers of two and three values between, so that a step takes one byte: 2^-40 … 2^23.75.
_QUARTERS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429], np.float32)
_LOWEST = -40
STEPS = np.concatenate([np.ldexp(_QUARTERS, exponent) for exponent in range(_LOWEST, _LOWEST + 64)]).astype(np.float32)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """Codes from ``-largest`` to ``largest``; ``share``: least step, as a share of a block's root mean square."""

    largest: int
    share: float

    @property
    def in_nibbles(self) -> bool:
        return self.largest <= 7


LEVELS = {"int8": Levels(127, 1 / 16), "int4": Levels(7, 1.0)}


def round_off(values: Floats, levels: Levels) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """The number of its step for each block, and a code for each value.

    ``code * step`` differs from the value by at most half a step, and the step is at most 2^(1/4) times the larger of
    max |value| / largest and share times the root mean square of the block (at least 2^-40). Raises ValueError where a
    value is not finite or a step would have to be larger than 2^23.75.
    """
    number = -(-values.size // BLOCK)
    steps, codes = np.empty(number, np.uint8), np.empty(number * BLOCK, np.int8)
    for start in range(0, number, _BLOCKS_AT_ONCE):
        stop = min(start + _BLOCKS_AT_ONCE, number)
        part = values[start * BLOCK : stop * BLOCK]
        if part.size < (stop - start) * BLOCK:
            part = np.concatenate([part, np.zeros((stop - start) * BLOCK - part.size, np.float32)])
        rows = part.reshape(-1, BLOCK)
        largest = np.abs(rows).max(axis=1)
        if not (largest <= STEPS[-1] * levels.largest).all():  # false for NaN too
            raise ValueError(f"values must be finite and at most {STEPS[-1] * levels.largest:.3g} in size")
        mean_square = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / BLOCK
        wanted = np.maximum(largest / np.float32(levels.largest), levels.share * np.sqrt(mean_square))
        found = np.searchsorted(STEPS, wanted.astype(np.float32)).clip(0, STEPS.size - 1).astype(np.uint8)
        steps[start:stop] = found
        scaled = rows / STEPS[found][:, None]
        codes[start * BLOCK : stop * BLOCK] = np.rint(scaled, out=scaled).reshape(-1)
    return steps, codes[: values.size]


def restore(steps: NDArray[np.uint8], codes: NDArray[np.int8]) -> Floats:
    """``code * step`` of every value: the same bits on every machine."""
    values = codes.astype(np.float32)
    whole = values.size // BLOCK * BLOCK
    values[:whole].reshape(-1, BLOCK)[:] *= STEPS[steps[: whole // BLOCK]][:, None]
    if whole < values.size:
        values[whole:] *= STEPS[steps[-1]]
    return values


def to_bytes(codes: NDArray[np.int8], levels: Levels) -> bytes:
    """A byte for each code, or one for two codes where four bits are enough for one."""
    if not levels.in_nibbles:
        return codes.tobytes()
    shifted = (codes + np.int8(8)).view(np.uint8)
    if shifted.size % 2:
        shifted = np.append(shifted, np.uint8(8))
    return (shifted[::2] << 4 | shifted[1::2]).tobytes()


def num_bytes(count: int, levels: Levels) -> int:
    return -(-count // 2) if levels.in_nibbles else count


def from_bytes(content: bytes, count: int, levels: Levels) -> NDArray[np.int8]:
    """Raises ValueError where a code is out of range."""
    packed = np.frombuffer(content, np.uint8)
    if levels.in_nibbles:
        codes = np.empty(2 * packed.size, np.int8)
        codes[::2], codes[1::2] = packed >> 4, packed & 15
        codes = codes[:count]
        codes -= 8
    else:
        codes = packed.view(np.int8)
    if codes.size and int(codes.min()) < -levels.largest:
        raise ValueError(f"a code is {int(codes.min())}, expected at least {-levels.largest}")
    return codes
