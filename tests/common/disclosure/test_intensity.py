import numpy as np
import pytest

from fedthorax.common.disclosure.distance import halves_distance, image_histograms, mean_histogram


def grey(*levels: int) -> np.ndarray:
    """One image of 2 x 2 pixels for each level."""
    return np.stack([np.full((2, 2, 3), level, np.uint8) for level in levels])


def test_pixels_are_counted_in_bins_of_eight_levels():
    histograms = image_histograms(grey(0, 7, 8, 255))
    assert histograms.shape == (4, 32)
    assert [int(np.argmax(row)) for row in histograms] == [0, 0, 1, 31]
    assert histograms.sum(axis=1).tolist() == [4, 4, 4, 4]


def test_the_grey_level_of_a_colour_is_the_mean_of_its_channels_without_overflow():
    image = np.array([[[[255, 255, 252]]]], np.uint8)
    assert np.argmax(image_histograms(image)[0]) == 254 // 8


def test_many_images_are_all_counted():
    assert image_histograms(grey(*range(200))).sum() == 800


def test_shares_add_up():
    shares = mean_histogram(image_histograms(grey(0, 0, 0, 255)))
    assert (shares[0], shares[31], sum(shares)) == (0.75, 0.25, 1.0)


def test_halves_keep_a_patient_together_and_repeat():
    histograms = image_histograms(grey(0, 0, 255, 255))
    assert halves_distance(histograms, np.array([0, 0, 1, 1]), seed=1) == 1.0
    assert halves_distance(histograms, np.arange(4), seed=1) == halves_distance(histograms, np.arange(4), seed=1)
    assert halves_distance(image_histograms(grey(9, 9)), np.array([0, 1]), seed=0) == pytest.approx(0)
