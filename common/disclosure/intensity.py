"""Grey levels of a hospital's images, as the network sees them after decoding and resizing."""

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.disclosure.distance import jensen_shannon_distance
from fedthorax.common.messages.statistics import BIN_WIDTH, NUM_BINS

_HALVINGS = 20
_DECIMALS = 4


def image_histograms(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, ``NUM_BINS``) pixels by grey level, the mean of the three channels; ``images`` is (N, S, S, 3)."""
    histograms = np.zeros((len(images), NUM_BINS), np.int64)
    first_sums = np.arange(NUM_BINS) * 3 * BIN_WIDTH  # the smallest sum of three channels in each bin
    for row, image in enumerate(images):
        sums = image[..., 0].astype(np.uint16) + image[..., 1] + image[..., 2]
        histograms[row] = np.add.reduceat(np.bincount(sums.ravel(), minlength=3 * 255 + 1), first_sums)
    return histograms


def mean_histogram(histograms: NDArray[np.int64]) -> tuple[float, ...]:
    """Shares of all pixels, four decimals: every image counts alike, all have the same size."""
    total = histograms.sum(axis=0)
    return tuple(round(float(share), _DECIMALS) for share in total / total.sum())


def halves_distance(histograms: NDArray[np.int64], patients: NDArray[np.int64], seed: int) -> float:
    """Mean distance between random halves of the patients, over 20 halvings; at least two patients."""
    generator = np.random.default_rng(seed)
    names = np.unique(patients)
    distances = []
    for _ in range(_HALVINGS):
        half = np.isin(patients, generator.permutation(names)[: len(names) // 2])
        distances.append(jensen_shannon_distance(histograms[half].sum(axis=0), histograms[~half].sum(axis=0)))
    return round(float(np.mean(distances)), _DECIMALS)
