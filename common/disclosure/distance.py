"""How different two hospitals' images and labels are, from what they have told; their grey levels as the network sees
them.

The Jensen-Shannon distance is the square root of the divergence of J. Lin, Divergence measures based on the Shannon
entropy, IEEE Transactions on Information Theory 37 (1991) 145-151, with logarithms to base 2: 0 for equal
distributions, 1 for distributions without a value in common. It is a metric (D. M. Endres and J. E. Schindelin, A new
metric for probability distributions, IEEE Transactions on Information Theory 49 (2003) 1858-1860).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedthorax.common.messages.statistics import BIN_WIDTH, NUM_BINS, Table


def jensen_shannon_distance(one: ArrayLike, other: ArrayLike) -> float:
    """Between two lists of frequencies of the same values, each of which is first divided by its sum.

    Raises ValueError for different lengths, a negative frequency, or a sum of 0.
    """
    p, q = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"expected two lists of the same length, got shapes {p.shape} and {q.shape}")
    if min(p.min(initial=0), q.min(initial=0)) < 0 or not p.sum() or not q.sum():
        raise ValueError("expected frequencies of at least 0 whose sum is positive")
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def _divergence(p: np.ndarray, middle: np.ndarray) -> float:
    held = np.minimum(p, middle) > 0  # half of the smallest number that there is is 0
    return float(np.sum(p[held] * np.log2(p[held] / middle[held])))


def findings_distance(one: Mapping[str, Table], other: Mapping[str, Table]) -> tuple[float | None, tuple[str, ...]]:
    """Mean over the findings of the distance between the shares of present among the known labels.

    And the findings it runs over: those of which both sites show both counts. None if there is none.
    """
    distances = {}
    for name in one:
        frequencies = [_present_absent(tables.get(name)) for tables in (one, other)]
        if None not in frequencies:
            distances[name] = jensen_shannon_distance(*(f for f in frequencies if f is not None))
    return (float(np.mean(list(distances.values()))) if distances else None), tuple(distances)


def classes_distance(one: Table, other: Table, classes: Sequence[str]) -> tuple[float | None, tuple[str, ...]]:
    """Between the shares of the classes that both sites show. None if these are fewer than two, or empty at a site."""
    both = [name for name in classes if one.cells.get(name) is not None and other.cells.get(name) is not None]
    frequencies = [[table.cells[name] or 0 for name in both] for table in (one, other)]
    if len(both) < 2 or not all(map(sum, frequencies)):
        return None, tuple(both)
    return jensen_shannon_distance(*frequencies), tuple(both)


def _present_absent(table: Table | None) -> tuple[int, int] | None:
    present, absent = (table.cells.get(key) if table else None for key in ("present", "absent"))
    if present is None or absent is None or not present + absent:
        return None
    return present, absent


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
