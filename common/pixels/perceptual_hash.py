"""The same picture in another size, format or brightness: a hash to search with, and a finer look at what it finds.

The hash holds the signs of the low frequencies against their median (C. Zauner, Implementation and Benchmarking of
Perceptual Image Hash Functions, 2010), but 16 x 16 of them instead of 8 x 8: chests are so alike that with 64 bits two
patients come as near as 4. It is looked up in 16 bands (multi-index hashing: M. Norouzi et al., Fast Search in Hamming
Space with Multi-Index Hashing, CVPR 2012). What agrees there is compared as a picture.

Thresholds are measured, see docs/check.md: among 128,936 pairs of different radiographs of two hospitals the nearest
had 56 different bits, and the most similar a fine correlation of 0.88; copies in half or double size, of JPEG quality
30, with another gamma or brightness differed by at most 18 bits and correlated with 0.99 or more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 32
HASH_BYTES = 32
MAX_BITS = 18
MIN_CORRELATION = 0.985

_FREQUENCIES = 16
_BANDS = 16
_BLOCK = 2048  # pairs of a crowded band are compared block by block, so that memory stays bounded
_CHUNK = 1 << 16

Bytes = NDArray[np.uint8]


def signature(small: NDArray[np.float32]) -> Bytes:
    """``small`` (SIDE, SIDE) stretched to 0..255, so that brightness and contrast no longer count."""
    low, high = float(small.min()), float(small.max())
    if high - low < 1:
        return np.zeros(small.shape, np.uint8)
    return np.rint((small - low) * (255 / (high - low))).astype(np.uint8)


def perceptual_hash(thumbnail: Bytes) -> bytes:
    """256 bits of a signature; all zero for a single colour, which is like nothing."""
    cosines = _COSINES @ thumbnail.astype(np.float32) @ _COSINES.T
    flat = cosines.ravel()
    return np.packbits(flat > np.median(flat[1:])).tobytes() if thumbnail.any() else bytes(HASH_BYTES)


def near_pairs(hashes: NDArray[np.uint8], signatures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs (P, 2), i < j, of rows that show nearly the same picture; ``hashes`` (N, 32), ``signatures`` (N, SIDE²).

    Every pair up to 15 bits apart is looked at, because it agrees in one of 16 bands; most of those up to MAX_BITS are.
    Rows of one colour take no part. The work grows with the number of rows and of true neighbours, not with its square.
    """
    candidates = candidate_pairs(hashes)
    kept = [
        chunk[_fine_correlation(signatures[chunk[:, 0]], signatures[chunk[:, 1]]) >= MIN_CORRELATION]
        for chunk in np.array_split(candidates, max(1, -(-len(candidates) // _CHUNK)))
    ]
    return np.concatenate(kept)


def candidate_pairs(hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs (P, 2), i < j, sorted, of hashes at most MAX_BITS apart that agree in a band."""
    rows = np.flatnonzero(hashes.any(axis=1))
    words = np.ascontiguousarray(hashes[rows]).view(np.uint64)
    bits = np.unpackbits(hashes[rows], axis=1)
    found = [np.empty((0, 2), np.int64)]
    for band in np.array_split(_BIT_ORDER, _BANDS):
        keys = bits[:, band].astype(np.uint32) @ (1 << np.arange(len(band), dtype=np.uint32))
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        found += [_close(words, members) for members in np.split(order, edges) if len(members) > 1]
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return rows[pairs] if len(pairs) else pairs


def _close(words: NDArray[np.uint64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    found = []
    for start in range(0, len(members), _BLOCK):
        one = members[start : start + _BLOCK]
        for other_start in range(start, len(members), _BLOCK):
            other = members[other_start : other_start + _BLOCK]
            distance = sum(
                np.bitwise_count(words[one, word][:, None] ^ words[other, word]).astype(np.uint16)
                for word in range(words.shape[1])
            )
            left, right = np.nonzero(np.asarray(distance) <= MAX_BITS)
            if start == other_start:
                left, right = left[left < right], right[left < right]
            found.append(np.stack([one[left], other[right]], axis=1))
    return np.concatenate(found)


def _fine_correlation(one: Bytes, other: Bytes) -> NDArray[np.float32]:
    """Correlation of two signatures, row by row, after what is smooth in them has been taken out: that is alike in all
    chests."""
    products: NDArray[np.float32] = (_detail(one) * _detail(other)).sum(axis=1)
    return products


def _detail(signatures: Bytes) -> NDArray[np.float32]:
    pictures = signatures.reshape(-1, SIDE, SIDE).astype(np.float32)
    detail = (pictures - _SMOOTHING @ pictures @ _SMOOTHING.T).reshape(-1, SIDE * SIDE)
    detail -= detail.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(detail, axis=1, keepdims=True)
    return np.divide(detail, lengths, out=np.zeros_like(detail), where=lengths > 1e-3)


def _smoothing(sigma: float = 2.0) -> NDArray[np.float32]:
    """A Gaussian as a matrix; at the edges it is cut off and scaled to 1."""
    places = np.arange(SIDE)
    weights = np.exp(-((places[:, None] - places) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


_COSINES = np.cos(np.pi * (np.arange(SIDE) + 0.5) * np.arange(_FREQUENCIES)[:, None] / SIDE).astype(np.float32)
_SMOOTHING = _smoothing()
# Neighbouring frequencies vary together; shuffled, every band gets its share of what tells pictures apart.
_BIT_ORDER = np.random.default_rng(2026).permutation(HASH_BYTES * 8)


def as_rows(values: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    """Bytes of equal length as rows (N, width)."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), width)
