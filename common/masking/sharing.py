"""Secrets in shares, of which ``threshold`` give them back and fewer tell nothing (Shamir, "How to Share a Secret",
CACM 1979), over the integers modulo a prime just above 2^256.
"""

import secrets
from collections.abc import Mapping

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def split(secret: bytes, points: int, threshold: int) -> list[bytes]:
    """The shares at 1, 2, … ``points``, each SHARE_BYTES long, of a secret of SECRET_BYTES."""
    if not 1 <= threshold <= points:
        raise ValueError(f"a threshold of {threshold} among {points} shares")
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret of {len(secret)} bytes, expected {SECRET_BYTES}")
    coefficients = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    shares = []
    for point in range(1, points + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * point + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES))
    return shares


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret out of the shares by their points; the ``threshold`` lowest points are used. ValueError where there
    are too few, or where they are shares of nothing that has SECRET_BYTES."""
    points = sorted(shares)[:threshold]
    if len(points) < threshold:
        raise ValueError(f"{len(points)} shares; {threshold} are needed")
    total = 0
    for point, weight in zip(points, _at_zero(tuple(points)), strict=True):
        total += weight * int.from_bytes(shares[point])
    total %= PRIME
    if total >= 1 << (8 * SECRET_BYTES):
        raise ValueError("the shares do not belong together")
    return total.to_bytes(SECRET_BYTES)


def _at_zero(points: tuple[int, ...]) -> list[int]:
    """Lagrange's weights of the values at ``points`` for the value at 0."""
    found = []
    for point in points:
        above, below = 1, 1
        for other in points:
            if other != point:
                above = above * other % PRIME
                below = below * (other - point) % PRIME
        found.append(above * pow(below, -1, PRIME) % PRIME)
    return found
