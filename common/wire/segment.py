"""A segment of the model packed as the difference to one that both sides know, and unpacked again.

What rounding leaves out is the *residual*. It is added to the next difference, so that nothing is lost for good (error
feedback: Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al., "Error Feedback Fixes
SignSGD and other Gradient Compression Schemes", ICML 2019).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.wire import lossless, rounding
from fedthorax.common.wire.pack import Bytes, Pack, Span, expand, read_packs, spans_in, write_pack

LOSSLESS = "lossless"
LOSSY = tuple(rounding.LEVELS)
MOST_STEPS = 4  # differences after each other: how many rounds back a model may lie to which they lead
_SPARE_BYTES = 1 << 16  # of a pack whose values do not pack at all: its header, and what packing them adds

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Packed:
    """``values`` is what the other side reads from ``pack``; ``residual`` is what it lacks."""

    pack: Bytes
    values: Floats
    residual: Floats


def pack_whole(values: Floats) -> Bytes:
    """The segment by itself, without loss."""
    return write_pack(LOSSLESS, values.size, "", [(0, values.size)], [lossless.to_bytes(values, None)])


def pack_exactly(values: Floats, base: Floats, base_sha256: str) -> Bytes:
    """The segment as a difference to ``base``, without loss."""
    return write_pack(LOSSLESS, values.size, base_sha256, [(0, values.size)], [lossless.to_bytes(values, base)])


def pack_rounded(
    codec: str, values: Floats, base: Floats, base_sha256: str, exact: Sequence[Span], residual: Floats | None
) -> Packed:
    """The segment as a rounded difference to ``base``; the runs of values in ``exact`` come without loss.

    ``residual`` is that of the last time, None the first time. Raises ValueError where a difference is not finite or
    too large.
    """
    levels, rounded = rounding.LEVELS[codec], _others(exact, values.size)
    before, after = _taken(base, rounded), _taken(values, rounded)
    left = np.zeros(after.size, np.float32) if residual is None else _taken(residual, rounded)
    steps, codes = rounding.round_off((after - before) + left, levels)
    before += rounding.restore(steps, codes)
    left += after - before
    kept, kept_base = _taken(values, exact), _taken(base, exact)
    contents = [lossless.to_bytes(kept, kept_base), steps.tobytes(), rounding.to_bytes(codes, levels)]
    read, rest = np.empty_like(values), np.zeros_like(values)
    _put(read, exact, kept)
    _put(read, rounded, before)
    _put(rest, rounded, left)
    return Packed(write_pack(codec, values.size, base_sha256, exact, contents), read, rest)


def unpack(data: Bytes, base: Callable[[str], Floats | None], size: int, most_packs: int = 1) -> Floats:
    """The segment of ``size`` values that ``data`` stands for; ``base`` gives the segment with a SHA-256, None where it
    is not here.

    Of several packs those are skipped after which there is a base. LookupError where none fits, ValueError where a
    pack is damaged or is no difference to its base. Nothing is expanded before the number of bytes, of packs and of
    values are what a segment of this size may have.
    """
    largest = most_packs * (4 * size + size // 16 + _SPARE_BYTES)
    if len(data) > largest:
        raise ValueError(f"{len(data)} bytes for {size} values; at most {largest} are read")
    packs = list(islice(read_packs(data), most_packs + 1))
    if len(packs) > most_packs:
        raise ValueError(f"more than {most_packs} packs")
    for pack in packs:
        if pack.header.values != size:
            raise ValueError(f"a pack of {pack.header.values} values, expected {size}")
    for first in range(len(packs) - 1, -1, -1):
        wanted = packs[first].header.base
        values = base(wanted) if wanted else None
        if values is not None or not wanted:
            for pack in packs[first:]:
                values = _unpacked(pack, values)
            assert values is not None  # for the type checker: there is one pack at least
            return values
    raise LookupError(f"none of the bases {', '.join(pack.header.base[:12] for pack in packs)} is here")


def base_of(data: Bytes) -> str:
    """The SHA-256 of the base of the first pack, empty where it has none."""
    return next(read_packs(data)).header.base


def codec_of(data: Bytes) -> str:
    return next(read_packs(data)).header.codec


def _unpacked(pack: Pack, base: Floats | None) -> Floats:
    header = pack.header
    if base is not None and base.shape != (header.values,):
        raise ValueError(f"a difference of {header.values} values to a base of {base.size}")
    exact = header.exact
    if header.codec == LOSSLESS:
        if len(header.parts) != 1 or spans_in(header) != header.values:
            raise ValueError("a lossless segment has one part that holds all values")
        (part,) = pack.parts()
        return lossless.from_bytes(expand(part, 4 * header.values), base)
    if header.codec not in rounding.LEVELS:
        raise ValueError(f"expected {', '.join((LOSSLESS, *LOSSY))}, got a segment packed as {header.codec!r}")
    if base is None or len(header.parts) != 3:
        raise ValueError(f"a segment packed as {header.codec} is a difference in three parts")
    levels, number = rounding.LEVELS[header.codec], header.values - spans_in(header)
    kept, steps, codes = pack.parts()
    values, rounded = base.astype(np.float32), _others(exact, header.values)
    _put(values, exact, lossless.from_bytes(expand(kept, 4 * spans_in(header)), _taken(base, exact)))
    change = rounding.restore(
        np.frombuffer(expand(steps, -(-number // rounding.BLOCK)), np.uint8),
        rounding.from_bytes(expand(codes, rounding.num_bytes(number, levels)), number, levels),
    )
    _add(values, rounded, change)
    return values


def _others(spans: Sequence[Span], size: int) -> list[Span]:
    """The runs between ``spans``."""
    edges = [0, *(edge for span in spans for edge in span), size]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]


def _taken(values: Floats, spans: Sequence[Span]) -> Floats:
    """A copy of the values in ``spans``, one run after the other."""
    if not spans:
        return np.empty(0, np.float32)
    return np.concatenate([values[start:stop] for start, stop in spans])


def _put(target: Floats, spans: Sequence[Span], values: Floats) -> None:
    at = 0
    for start, stop in spans:
        target[start:stop] = values[at : at + stop - start]
        at += stop - start


def _add(target: Floats, spans: Sequence[Span], change: Floats) -> None:
    at = 0
    for start, stop in spans:
        target[start:stop] += change[at : at + stop - start]
        at += stop - start
