"""Segments in one run of bytes: what comes out is what went in, and a listing that does not fit is refused."""

import numpy as np
import pytest

from fedthorax.common.wire.payload import checked_extents, extents_of, in_order, num_bytes, split

ARRAYS = {"packed": np.array([7, 8], np.uint8), "whole": np.array([[1.5, -2.0]], ">f4").reshape(-1)}


def test_whole_segments_come_first_as_little_endian_float32() -> None:
    ordered = in_order(ARRAYS)
    assert {name: values.dtype.str for name, values in ordered.items()} == {"whole": "<f4", "packed": "|u1"}
    assert extents_of(ordered) == (("whole", 2, False), ("packed", 2, True))
    assert num_bytes(extents_of(ordered)) == 10


def test_split_gives_views_of_what_follows_the_start() -> None:
    ordered = in_order(ARRAYS)
    buffer = b"text" + b"".join(values.tobytes() for values in ordered.values())
    found = split(buffer, extents_of(ordered), 4)
    assert {name: values.tolist() for name, values in found.items()} == {"whole": [1.5, -2.0], "packed": [7, 8]}
    assert not found["whole"].flags.owndata


@pytest.mark.parametrize("size", [9, 11])
def test_more_or_less_than_announced_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes of segments; 10 were announced"):
        split(bytes(size), extents_of(in_order(ARRAYS)))


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (7, "must be a list of names"),
        ([["a", 1]], "must be a list of names"),
        ([["a", "x", False]], "must be a list of names"),
        ([["a", -1, False]], "negative number"),
        ([["a", 1, False], ["a", 1, False]], "a name twice"),
        ([["a", 1, True], ["b", 1, False]], "packed ones last"),
    ],
)
def test_a_listing_from_outside_that_is_none_is_refused(listed: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_extents(listed)
