"""Is the model as good at one hospital as at the others? From histograms of scores, without anybody's rows.

A hospital's ROC-AUC stands beside the mean of those of the others, each within its own images: a ROC-AUC of all others'
images together would also judge how their scores are shifted against each other. Intervals hold what the bins leave
open, and DeLong's error from counts in bins. That takes every image for a person of its own, because histograms know no
patients: with several images a patient it is too small. The error of a mean over labels is at most the mean of theirs,
and that is taken: which images the labels share is not known either.

DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988), 837-845.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from fedthorax.common.metrics.resampling import LEVEL, is_descriptive
from fedthorax.common.metrics.score_histogram import ScoreHistogram, binned_roc_auc


@dataclass(frozen=True)
class BinnedRocAuc:
    """``blur`` is how far the area of the images themselves may lie from ``value``; ``error`` is the standard error."""

    value: float
    blur: float
    error: float

    def minus(self, other: "BinnedRocAuc") -> "BinnedRocAuc":
        """The difference; two hospitals have no image in common."""
        return BinnedRocAuc(self.value - other.value, self.blur + other.blur, math.hypot(self.error, other.error))

    def interval(self, lowest: float) -> list[float]:
        half = self.blur + float(norm.ppf((1 + LEVEL) / 2)) * self.error
        return [max(lowest, self.value - half), min(1.0, self.value + half)]


def mean_of_hospitals(areas: Sequence[BinnedRocAuc]) -> BinnedRocAuc:
    """Of independent areas."""
    value, blur = np.mean([(area.value, area.blur) for area in areas], axis=0).tolist()
    return BinnedRocAuc(value, blur, math.sqrt(sum(area.error**2 for area in areas)) / len(areas))


def mean_of_labels(areas: Sequence[BinnedRocAuc]) -> BinnedRocAuc:
    """Of areas that may share images: as if all erred together."""
    return BinnedRocAuc(*np.mean([(area.value, area.blur, area.error) for area in areas], axis=0).tolist())


def roc_auc_with_error(histogram: ScoreHistogram) -> BinnedRocAuc | None:
    """None with fewer than two images of either kind."""
    present, absent = np.array(histogram.present), np.array(histogram.absent)
    positives, negatives = int(present.sum()), int(absent.sum())
    if min(positives, negatives) < 2:
        return None
    area = binned_roc_auc(present, absent)
    beaten = (np.cumsum(absent) - absent / 2) / negatives  # share of negatives that a positive in this bin outranks
    outranked = 1 - (np.cumsum(present) - present / 2) / positives
    variance = present @ (beaten - area["value"]) ** 2 / (positives * (positives - 1))
    variance += absent @ (outranked - area["value"]) ** 2 / (negatives * (negatives - 1))
    return BinnedRocAuc(area["value"], (area["highest"] - area["lowest"]) / 2, float(np.sqrt(variance)))


def hospital_gaps(histograms: Mapping[str, Mapping[str, ScoreHistogram]], labels: Sequence[str]) -> dict[str, Any]:
    """By hospital ``mean`` and ``labels`` as a group of ``subgroup_scores`` has them, with ``roc_auc`` alone.

    ``histograms[label][hospital]``. Hospitals are compared on labels that have ten positives and negatives at both.
    """
    hospitals = sorted({name for of_label in histograms.values() for name in of_label})
    return {"groups": {name: _hospital(name, histograms, labels) for name in hospitals}}


def _hospital(
    name: str, histograms: Mapping[str, Mapping[str, ScoreHistogram]], labels: Sequence[str]
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    compared: dict[str, tuple[BinnedRocAuc, BinnedRocAuc]] = {}
    images = 0
    for label in labels:
        of_label = histograms.get(label, {})
        if name not in of_label:
            reason = "The hospital does not tell how its images of this label are scored."
            rows[label] = {"support": None, "known": None, "descriptive": True, "reason": reason}
            continue
        support = sum(of_label[name].present)
        known = support + sum(of_label[name].absent)
        images = max(images, known)
        areas = {site: roc_auc_with_error(one) for site, one in of_label.items() if site == name or not _few(one)}
        own, few = areas.pop(name), _few(of_label[name])
        others = [area for area in areas.values() if area is not None]
        if own and others and not few:
            compared[label] = (own, mean_of_hospitals(others))
        rows[label] = {"support": support, "known": known, "descriptive": few, "reason": None}
        rows[label]["roc_auc"] = _told(own, None if few else own, compared[label][1] if label in compared else None)
    sides = [mean_of_labels([both[k] for both in compared.values()]) if compared else None for k in (0, 1)]
    why = "No label has ten positives and negatives both here and at another hospital."
    return {
        "images": images or None,
        "reason": None,
        "mean": {
            "labels": list(compared),
            "reason": None if compared else why,
            "roc_auc": _told(sides[0], sides[0], sides[1]),
        },
        "labels": rows,
    }


def _few(histogram: ScoreHistogram) -> bool:
    return is_descriptive(sum(histogram.present), sum(histogram.present) + sum(histogram.absent))


def _told(own: BinnedRocAuc | None, certain: BinnedRocAuc | None, others: BinnedRocAuc | None) -> dict[str, Any]:
    """``certain`` is ``own`` where it has images enough for an interval."""
    gap = certain.minus(others) if certain and others else None
    return {
        "value": own and own.value,
        "interval": certain and certain.interval(0.0),
        "others": others and others.value,
        "gap": gap and gap.value,
        "gap_interval": gap and gap.interval(-1.0),
    }
