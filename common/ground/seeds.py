"""Independent random streams from one seed."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**31) for the stream that ``names`` name, such as ``(seed, "pairing", "north", 3)``.

    Streams with different names are independent of each other and of the order in which they are used, so a hospital
    draws the same numbers whether it trains first, last or alone.
    """
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % 2**31
