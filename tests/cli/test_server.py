"""What ``fedthorax server`` prints."""

import pytest

from fedthorax.cli.server import _images


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([(40, 20), (10, 5)], "50 X-rays, 25 CT slices"),
        ([(40, 16), (None, None)], "40+ X-rays, 16+ CT slices"),
        ([(40, None), (10, None)], "50 X-rays, CT slices hidden"),
        ([(0, 3)], "0 X-rays, 3 CT slices"),
    ],
)
def test_images_are_counted_and_what_is_hidden_is_no_number(counts, words):
    data = {"splits": {str(number): {"xray": xray, "ct": ct} for number, (xray, ct) in enumerate(counts)}}
    assert _images(data) == words
