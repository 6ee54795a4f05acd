"""Near copies are found without comparing every pair, and no other picture is called one."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fedthorax.common.pixels.perceptual_hash import (
    HASH_BYTES,
    MAX_BITS,
    SIDE,
    as_rows,
    candidate_pairs,
    near_pairs,
    perceptual_hash,
    signature,
)


def described(picture: np.ndarray) -> tuple[bytes, bytes]:
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    thumbnail = signature(small)
    return perceptual_hash(thumbnail), thumbnail.tobytes()


def pairs_of(pictures: list[np.ndarray]) -> list[list[int]]:
    hashes, signatures = zip(*map(described, pictures), strict=True)
    return near_pairs(as_rows(hashes, HASH_BYTES), as_rows(signatures, SIDE * SIDE)).tolist()


def test_another_size_and_contrast_is_near_and_another_chest_is_not(chest: Callable[..., np.ndarray]) -> None:
    half = np.asarray(Image.fromarray(chest(0)).resize((48, 48), Image.Resampling.BICUBIC))
    pale = (chest(0) // 2 + 60).astype(np.uint8)
    assert pairs_of([chest(0), chest(1), half, chest(2), pale]) == [[0, 2], [0, 4], [2, 4]]


def test_a_single_colour_is_near_to_nothing() -> None:
    black = np.zeros((40, 40), np.uint8)
    assert pairs_of([black, black, black]) == []


def test_without_pictures_there_are_no_pairs() -> None:
    assert near_pairs(as_rows([], HASH_BYTES), as_rows([], SIDE * SIDE)).shape == (0, 2)


@pytest.mark.parametrize("num_bits", [0, 1, 8, 15])
def test_every_pair_up_to_15_bits_apart_is_looked_at(num_bits: int) -> None:
    rng = np.random.default_rng(num_bits)
    for _ in range(50):
        bits = rng.integers(0, 2, 256)
        other = bits.copy()
        other[rng.choice(256, num_bits, replace=False)] ^= 1
        assert candidate_pairs(np.packbits([bits, other], axis=1)).tolist() == [[0, 1]]


def test_beyond_the_limit_nothing_is_a_candidate() -> None:
    bits = np.random.default_rng(0).integers(0, 2, 256)
    other = bits.copy()
    other[: MAX_BITS + 1] ^= 1
    assert candidate_pairs(np.packbits([bits, other], axis=1)).tolist() == []


def test_a_crowd_of_equal_hashes_is_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedthorax.common.pixels.perceptual_hash._BLOCK", 3)
    hashes = np.tile(np.packbits(np.random.default_rng(0).integers(0, 2, 256)), (7, 1))
    assert candidate_pairs(hashes).tolist() == [[i, j] for i in range(7) for j in range(i + 1, 7)]


def test_equal_hashes_are_not_enough(chest: Callable[..., np.ndarray]) -> None:
    (one, picture), (_, other) = described(chest(0)), described(chest(1))
    hashes = as_rows([one, one], HASH_BYTES)
    assert near_pairs(hashes, as_rows([picture, other], SIDE * SIDE)).tolist() == []
    assert near_pairs(hashes, as_rows([picture, picture], SIDE * SIDE)).tolist() == [[0, 1]]
