"""Weights of images when patients are drawn again, figures from such weights, and intervals from such figures.

A resample draws as many patients as there are, with replacement, and takes all their images; an image therefore has a
whole-number weight, and every figure is computed from weights for many resamples at once.

How certain an area is by the number of images alone: Hanley and McNeil, Radiology 143 (1982), 29-36. With one
positive it is a coin toss, and a plain mean over findings that holds it moves by its chance.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

USUAL_AREA = 0.7
"""The area that weights are worked out at. At its own, an area that came out near 1 by chance would look certain."""

WANTED_ERROR = 0.05
"""Standard error below which an area says something: its 95 % interval is about 0.2 wide."""


def area_variance(positives: int, negatives: int, area: float = USUAL_AREA) -> float:
    """Of the area of so many images, one a patient; both counts from 1 on."""
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (two_positives - area**2)
    return (spread + (negatives - 1) * (two_negatives - area**2)) / (positives * negatives)


def positives_needed(error: float = WANTED_ERROR, area: float = USUAL_AREA) -> int:
    """The fewest positives whose area has this standard error, among as many negatives as one likes."""
    return math.ceil((2 * area**2 / (1 + area) - area**2) / error**2)


def certain_mean(rows: Iterable[tuple[float | None, int, int]]) -> float | None:
    """Mean of areas, each with its positives and negatives, by the inverse of their variance; None where there is none.

    The weights are those of the numbers of images, and so the same in every round."""
    found = [(area, 1 / area_variance(positives, negatives)) for area, positives, negatives in rows if area is not None]
    total = sum(weight for _, weight in found)
    return sum(area * weight for area, weight in found) / total if found else None


SPECIFICITY = 0.9
"""At which ``sensitivity_at_specificity`` is read: no more than one false alarm in ten images without the finding."""

MIN_IMAGES = 10


def is_descriptive(positives: int, known: int) -> bool:
    """Whether a figure only describes the images at hand: fewer than ``MIN_IMAGES`` positives or negatives.

    Such figures have no interval in reports and enter no comparison of models or hospitals.
    """
    return min(positives, known - positives) < MIN_IMAGES


LEVEL = 0.95
MAX_CELLS = 2_000_000  # weights held at once: 8 MB
_ROUNDING = 1e-9


def draw_patients(rng: np.random.Generator, num_patients: int, samples: int) -> NDArray[np.int64]:
    """(samples, num_patients) indices of the patients of each resample."""
    return rng.integers(0, num_patients, size=(samples, num_patients))


def image_weights(patients: Sequence[str], num_images: int, samples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """How often each image stands in each resample, in blocks (N, b); the first is the data themselves."""
    if len(patients) != num_images:
        raise ValueError(
            f"patients must name the patient of each of the {num_images} images, got {len(patients)} names"
        )
    if samples < 0:
        raise ValueError(f"samples must be 0 or more, got {samples}")
    yield np.ones((num_images, 1), np.int32)
    if num_images == 0:
        yield np.zeros((0, samples), np.int32)
        return
    names, image_patient = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    rng = np.random.default_rng(seed)
    block = max(1, MAX_CELLS // num_images)
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = draw_patients(rng, len(names), size) + len(names) * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * len(names)).reshape(size, len(names))
        yield np.ascontiguousarray(counts.T, np.int32)[image_patient]


def weighted_ranking(
    weights: NDArray[np.int32], known: NDArray[np.bool_], present: NDArray[np.bool_], score: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(b, 3): ROC-AUC, average precision, and sensitivity at SPECIFICITY in each resample; NaN with one class only.

    All three need, for every present image, only the weight of the absent images that score below it and as it does.
    """
    absent_rows, present_rows = np.flatnonzero(known & ~present), np.flatnonzero(known & present)
    absent_rows = absent_rows[np.argsort(score[absent_rows], kind="stable")]
    present_rows = present_rows[np.argsort(score[present_rows], kind="stable")]
    absent_scores, present_scores = score[absent_rows], score[present_rows]
    of_present = weights[present_rows]
    below, before = _running(weights[absent_rows]), _running(of_present)
    lower = below[np.searchsorted(absent_scores, present_scores, "left")]
    not_higher = below[np.searchsorted(absent_scores, present_scores, "right")]
    absent, total = below[-1].astype(np.float64), before[-1].astype(np.float64)
    wins = np.einsum("ib,ib->b", of_present, lower + not_higher, dtype=np.float64) / 2
    # With this image's score as the threshold: the present ones from the first equal one upwards, and the absent ones.
    hits = before[-1] - before[np.searchsorted(present_scores, present_scores, "left")]
    alarms = below[-1] - lower
    precision = np.where(of_present > 0, ratio(hits.astype(np.float64), (hits + alarms).astype(np.float64)), 0.0)
    specific = alarms <= (1 - SPECIFICITY + _ROUNDING) * absent
    figures = (
        ratio(wins, total * absent),
        ratio((of_present * precision).sum(axis=0), total),
        ratio((of_present * specific).sum(axis=0, dtype=np.float64), total),
    )
    return np.where(((total == 0) | (absent == 0))[:, None], np.nan, np.stack(figures, axis=1))


def _running(weights: NDArray[np.int32]) -> NDArray[np.int32]:
    """(k + 1, b): the weight of the first 0, 1, … k images."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), np.int32)
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def percentile_interval(values: NDArray[np.float64], num_patients: int) -> tuple[list[float] | None, int]:
    """From the data's own figure and its resamples; one patient alone tells nothing about others: None."""
    resampled = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(resampled) == 0 or num_patients < 2:
        return None, len(resampled)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return [float(low), float(high)], len(resampled)
