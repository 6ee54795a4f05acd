"""How a model's probabilities are spread, by label: enough for a consortium's ROC-AUC without anybody's rows.

A hospital counts, for one finding, its images with and without it in bins of the probability. Counts of several
hospitals add up, and the figures of the pooled images follow from the sums, except for the order inside a bin: how much
that matters is known exactly and told with each figure. Bins are equal in the logarithm of the odds, because
probabilities of rare findings lie close to 0. Bins with few images are joined with their neighbours before they leave.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fedthorax.common.ground.frozen import Frozen

LARGEST_LOGIT = 8.0  # probabilities from 0.0003 to 0.9997 are told apart
Counts = NDArray[np.int64]
Number = Annotated[int, Field(ge=0, le=1 << 40)]


class ScoreHistogram(Frozen):
    """``edges`` are positions among the finest bins, from 0 to ``bins``; ``present`` and ``absent`` count the images
    between two of them."""

    bins: Number
    edges: Annotated[tuple[Number, ...], Field(strict=False, min_length=2, max_length=10_001)]
    present: Annotated[tuple[Number, ...], Field(strict=False)]
    absent: Annotated[tuple[Number, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _fits(self) -> "ScoreHistogram":
        edges = self.edges
        if list(edges) != sorted(set(edges)) or (edges[0], edges[-1]) != (0, self.bins):
            raise ValueError(f"a histogram's edges must rise from 0 to {self.bins}, got {str(edges)[:80]}")
        if not len(edges) - 1 == len(self.present) == len(self.absent):
            counts = f"{len(self.present)} and {len(self.absent)}"
            raise ValueError(f"a histogram has {len(edges) - 1} bins, but counts {counts}")
        return self


def score_histogram(
    truth: NDArray[np.floating], probability: NDArray[np.floating], bins: int, smallest_count: int = 0
) -> ScoreHistogram:
    """Of one finding or class: ``truth`` (N,) is 1, 0 or NaN (unknown, not counted), ``probability`` (N,) in [0, 1]."""
    known = ~(np.isnan(truth) | np.isnan(probability))
    truth, probability = truth[known], np.clip(probability[known].astype(np.float64), 1e-12, 1 - 1e-12)
    logit = np.log(probability) - np.log1p(-probability)
    rows = np.clip((logit + LARGEST_LOGIT) / (2 * LARGEST_LOGIT) * bins, 0, bins - 1).astype(np.int64)
    present, absent = (np.bincount(rows[truth == label], minlength=bins) for label in (1, 0))
    return coarsened(_of(bins, range(bins + 1), present, absent), smallest_count)


def coarsened(histogram: ScoreHistogram, smallest_count: int) -> ScoreHistogram:
    """Neighbouring bins joined until each counts no or at least ``smallest_count`` images with the label, and without.

    Where all images together are too few there is one bin left that is too small: see ``too_few``.
    """

    def small(counts: Sequence[int]) -> bool:
        return any(0 < count < smallest_count for count in counts)

    joined: list[list[int]] = []  # end, present, absent
    for end, *counts in zip(histogram.edges[1:], histogram.present, histogram.absent, strict=True):
        if joined and small(joined[-1][1:]):
            joined[-1] = [end, joined[-1][1] + counts[0], joined[-1][2] + counts[1]]
        else:
            joined.append([end, *counts])
    while len(joined) > 1 and small(joined[-1][1:]):
        last = joined.pop()
        joined[-1] = [last[0], joined[-1][1] + last[1], joined[-1][2] + last[2]]
    ends, present, absent = zip(*joined, strict=True)
    return _of(histogram.bins, (histogram.edges[0], *ends), present, absent)


def _of(bins: int, *counts: Iterable[int]) -> ScoreHistogram:
    edges, present, absent = (tuple(map(int, numbers)) for numbers in counts)
    return ScoreHistogram(bins=bins, edges=edges, present=present, absent=absent)


def too_few(histogram: ScoreHistogram, smallest_count: int) -> bool:
    """Whether the hospital has so few images with the label, or without, that it keeps the histogram."""
    return min(sum(histogram.present), sum(histogram.absent)) < smallest_count


def pooled(histograms: Sequence[ScoreHistogram]) -> ScoreHistogram:
    """All hospitals' images together, in the bins whose edges all of them have. ValueError without one."""
    if not histograms:
        raise ValueError("there is no histogram to pool")
    common = sorted(set.intersection(*(set(one.edges) for one in histograms)))

    def total(counts: str) -> Counts:
        sums = np.zeros(len(common) - 1, np.int64)
        for one in histograms:
            starts = np.searchsorted(common, one.edges[:-1], side="right") - 1
            np.add.at(sums, starts, np.asarray(getattr(one, counts), np.int64))
        return sums

    return _of(histograms[0].bins, common, total("present"), total("absent"))


def pooled_figures(histogram: ScoreHistogram) -> dict[str, Any]:
    """``present`` and ``absent`` (images), and of ``roc_auc``, ``pr_auc`` and ``calibration_error`` the value and the
    ``lowest`` and ``highest`` that the images themselves could have; None, with a ``reason``, without both labels."""
    present, absent = np.array(histogram.present), np.array(histogram.absent)
    found: dict[str, Any] = {"present": int(present.sum()), "absent": int(absent.sum()), "reason": None}
    if not present.sum() or not absent.sum():
        missing = "with" if not present.sum() else "without"
        figures = dict.fromkeys(("roc_auc", "pr_auc", "calibration_error"))
        return found | figures | {"reason": f"no image {missing} it among those that were told"}
    return found | {
        "roc_auc": binned_roc_auc(present, absent),
        "pr_auc": _pr_auc(present, absent),
        "calibration_error": _calibration_error(histogram),
    }


def _bounded(value: float, lowest: float, highest: float) -> dict[str, float]:
    return {"value": float(value), "lowest": float(lowest), "highest": float(highest)}


def binned_roc_auc(present: Counts, absent: Counts) -> dict[str, float]:
    """``value``, ``lowest``, ``highest``: pairs in one bin count half; they are right between none and all of them."""
    pairs = float(present.sum()) * float(absent.sum())
    below = np.concatenate([[0], np.cumsum(absent)[:-1]])
    right, open_ = float(present @ below), float(present @ absent)
    return _bounded((right + open_ / 2) / pairs, right / pairs, (right + open_) / pairs)


def _pr_auc(present: Counts, absent: Counts) -> dict[str, float]:
    """Average precision with the images in a bin in the worst and in the best order; the value lies in the middle."""
    total = present.sum()
    lowest = highest = 0.0
    above_p = above_n = 0
    for p, n in zip(present[::-1].tolist(), absent[::-1].tolist(), strict=True):
        if p:
            ranks = np.arange(1, p + 1)
            highest += float(np.sum((above_p + ranks) / (above_p + ranks + above_n)))
            lowest += float(np.sum((above_p + ranks) / (above_p + ranks + above_n + n)))
        above_p, above_n = above_p + p, above_n + n
    return _bounded((lowest + highest) / 2 / total, lowest / total, highest / total)


def _calibration_error(histogram: ScoreHistogram) -> dict[str, float]:
    """Mean distance, over the images, of a bin's probability from its share of present; the probability lies anywhere
    between the bin's edges, the value takes the middle of its odds."""
    present, absent = np.array(histogram.present), np.array(histogram.absent)
    number = present + absent
    filled = number > 0
    logits = (np.array(histogram.edges) / histogram.bins * 2 - 1) * LARGEST_LOGIT
    bounds = 1 / (1 + np.exp(-logits))
    bounds[0], bounds[-1] = 0.0, 1.0  # what lies beyond is counted in the outermost bins
    low, high = bounds[:-1][filled], bounds[1:][filled]
    middle = (1 / (1 + np.exp(-(logits[:-1] + logits[1:]) / 2)))[filled]
    share, weight = (present / np.maximum(number, 1))[filled], number[filled] / number.sum()
    nearest = np.maximum(0, np.maximum(low - share, share - high))
    farthest = np.maximum(np.abs(low - share), np.abs(high - share))
    return _bounded(weight @ np.abs(middle - share), weight @ nearest, weight @ farthest)
