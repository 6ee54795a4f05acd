"""Secret bits and rounded Gaussian noise out of them.

Everything comes from a secret that the hospital alone has: whoever knew the draws could take the noise off again.
"""

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from fedthorax.common.ground.strict_json import canonical_json

_HALF = np.uint64(1 << 63)


def key_of(secret: bytes, purpose: str, context: Sequence[object], values: bytes = b"") -> bytes:
    """A key of 32 bytes for all that it is used with: another context, or other values, have another."""
    facts = f"FedThorax {purpose}\n{canonical_json(list(context))}\n".encode()
    return hmac.digest(secret, facts + hashlib.sha256(values).digest(), "sha256")


def words(key: bytes, count: int) -> NDArray[np.uint64]:
    """Uniform words of 64 bits: AES-256 in counter mode."""
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(8 * count)), "<u8")


def chosen(key: bytes, count: int, rate: float) -> NDArray[np.bool_]:
    """Each of ``count`` by itself with the chance ``rate``."""
    return words(key, count) < np.uint64(min(int(rate * 2.0**64), 2**64 - 1)) if rate < 1 else np.ones(count, bool)


def rounded_gaussian(key: bytes, deviation: float, count: int) -> NDArray[np.int64]:
    """Whole numbers: Gaussian noise of standard ``deviation``, rounded, by the inverse of its distribution function.

    A bit is the sign and 63 say how far out: the smallest chance is 2^-65, 9.3 deviations. Rounded, the draws differ
    from those of real numbers with a chance of about 1e-15 each, far below any delta.
    """
    from scipy.special import ndtri

    drawn = words(key, count)
    tail = ((drawn & ~_HALF).astype(np.float64) + 0.5) * 2.0**-64  # below 1/2, fine where it is small
    size = np.rint(-deviation * ndtri(tail)).astype(np.int64)
    return np.where(drawn >= _HALF, size, -size)
