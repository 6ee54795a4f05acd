"""Equal pictures in two places."""

from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.hospital.overlap import keyed_digests, shared_images, unseen, without


def images(*digests: str) -> ImageSet:
    number = len(digests)
    return ImageSet(
        images=np.arange(number, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3),
        targets=np.arange(number, dtype=np.int32),
        paths=tuple(Path(f"{n}.png") for n in range(number)),
        patients=tuple(f"p{n}" for n in range(number)),
        digests=digests,
    )


def test_rows_with_a_known_digest_are_found() -> None:
    assert shared_images(images("a", "b", "a", "c"), {"a", "c", "x"}) == (0, 2, 3)
    assert shared_images(images("a"), ()) == ()


def test_rows_are_left_out_with_all_that_belongs_to_them() -> None:
    left = without(images("a", "b", "c"), (1,))
    np.testing.assert_array_equal(left.images[:, 0, 0, 0], [0, 2])
    np.testing.assert_array_equal(left.targets, [0, 2])
    assert left.paths == (Path("0.png"), Path("2.png"))
    assert left.patients == ("p0", "p2")
    assert left.digests == ("a", "c")


def test_leaving_out_nothing_copies_nothing_and_leaving_out_all_leaves_an_empty_set() -> None:
    whole = images("a", "b")
    assert without(whole, ()) is whole
    empty = without(whole, (0, 1))
    assert len(empty) == 0
    assert empty.images.shape == (0, 1, 1, 3)


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_that_does_not_exist_is_refused(row: int) -> None:
    with pytest.raises(ValueError, match=f"must be rows 0 to 1 of the images, found {row}"):
        without(images("a", "b"), (row,))


def test_keyed_digests_agree_under_one_key_only() -> None:
    key, other = b"k" * 16, b"o" * 16
    assert keyed_digests(["a", "b"], key) == (*keyed_digests(["a"], key), *keyed_digests(["b"], key))
    assert not set(keyed_digests(["a"], key)) & set(keyed_digests(["a"], other))


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_key_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"16 to 64 bytes, found {length}"):
        keyed_digests(["a"], b"k" * length)


def test_test_images_that_are_trained_on_or_select_are_told_apart_by_modality() -> None:
    splits = {
        "train": SplitImages(images("a"), images("x")),
        "valid": SplitImages(images("b"), images()),
        "test": SplitImages(images("c", "a", "b", "x"), images("y")),
    }
    new = unseen(splits)
    assert new.xray.digests == ("c", "x"), "an X-ray is no copy of a CT slice"
    assert new.ct is splits["test"].ct
