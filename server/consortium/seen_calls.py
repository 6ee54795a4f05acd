"""The calls that the gateway has taken while their time is good: none is taken twice.

Whoever sees one call, on a proxy that opens TLS say, could otherwise send it again to the letter for as long as Flower
takes its time. A hospital's software signs each call anew, also one that it sends again.
"""

import hashlib
import time

from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

KEPT_SECONDS = TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE  # a time may be ahead, and is good for so long then
MOST_OF_ONE = 20_000  # of one hospital in KEPT_SECONDS, 65 a second; about 2 MB


class SeenCalls:
    def __init__(self) -> None:
        self._begun = time.monotonic()  # the clock may be set
        self._seen: dict[str, dict[bytes, float]] = {}  # by hospital, oldest first; when each came

    def take(self, hospital: str, signed_at: float, *call: str) -> None:
        """Note one call, by what was signed and not by the signature, which can be written in two ways.

        PermissionError where it was taken before; BlockingIOError where that cannot be known, and it has to be signed
        anew: it is older than this process (``signed_at`` in Unix seconds), or the hospital has made too many.
        """
        now, seen = time.monotonic(), self._seen.setdefault(hospital, {})
        while seen and now - next(iter(seen.values())) > KEPT_SECONDS:
            del seen[next(iter(seen))]
        mark = hashlib.sha256("\n".join(call).encode()).digest()[:16]
        if mark in seen:
            raise PermissionError("this call was made before; each has to be signed anew")
        if time.time() - signed_at > now - self._begun:
            raise BlockingIOError(
                "the call was signed before the gateway began, or by a clock that is behind; try again"
            )
        if len(seen) >= MOST_OF_ONE:
            raise BlockingIOError(f"more than {MOST_OF_ONE} calls within {KEPT_SECONDS:.0f} s; try again")
        seen[mark] = now
