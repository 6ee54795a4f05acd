"""Values packed without loss: as the difference of their bit patterns to those of a base, a byte of all after another.

Two float32 numbers that lie close together have bit patterns that, read as integers, lie close together: the upper
bytes of the differences are mostly 0. Byte by byte ("shuffled") they compress, the lower ones hardly do.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def to_bytes(values: Floats, base: Floats | None) -> bytes:
    """``values`` as four bytes each; ``base`` has as many values, None stands for zeros."""
    bits = np.ascontiguousarray(values, "<f4").view(np.uint32)
    difference = bits - np.ascontiguousarray(base, "<f4").view(np.uint32) if base is not None else bits.copy()
    # The sign goes to the lowest bit, so that a small negative difference has zeros above too.
    sign = (difference.view(np.int32) >> 31).view(np.uint32)
    difference <<= 1
    difference ^= sign
    return np.ascontiguousarray(difference.view(np.uint8).reshape(-1, 4).T).tobytes()


def from_bytes(content: bytes, base: Floats | None) -> Floats:
    """What ``to_bytes`` was given."""
    planes = np.frombuffer(content, np.uint8).reshape(4, -1)
    packed = np.ascontiguousarray(planes.T).view(np.uint32).reshape(-1)
    bits = packed >> 1
    bits ^= -(packed & 1)
    if base is not None:
        bits += np.ascontiguousarray(base, "<f4").view(np.uint32)
    return bits.view("<f4").astype(np.float32, copy=False)
