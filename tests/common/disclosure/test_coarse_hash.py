import io

import numpy as np
from PIL import Image

from fedthorax.common.disclosure.duplicates import coarse_hashes


def picture(seed: int) -> Image.Image:
    """Soft blobs, as different from each other as two pictures can be."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC).convert("RGB")


def hashes(*pictures: Image.Image) -> list[str]:
    return [digest for image in pictures for digest in coarse_hashes(np.asarray(image)[np.newaxis])]


def test_most_copies_have_the_hash_of_the_original():
    same = 0
    for seed in range(20):
        packed = io.BytesIO()
        picture(seed).resize((192, 192)).save(packed, "JPEG", quality=70)
        original, copy = hashes(picture(seed), Image.open(packed))
        same += original == copy
    assert same >= 14


def test_different_pictures_have_different_hashes():
    assert len(set(hashes(*map(picture, range(50))))) == 50


def test_a_picture_of_one_colour_has_no_hash():
    assert coarse_hashes(np.full((2, 8, 8, 3), 7, np.uint8)) == []
