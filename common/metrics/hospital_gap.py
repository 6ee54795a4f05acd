"""Is the model as good at one hospital as at the others? From histograms of scores, without anybody's rows.

The error of a ROC-AUC is DeLong's, computed from counts in bins. It takes every image for a person of its own, because
histograms know no patients: with several images a patient the true intervals are wider. The standard error of a mean
over labels is at most the mean of theirs, and that is taken: which images the labels share is not known either.

DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988), 837-845.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from fedthorax.common.metrics.ranking import is_descriptive
from fedthorax.common.metrics.score_histogram import ScoreHistogram, pooled

LEVEL = 0.95


def roc_auc_with_error(histogram: ScoreHistogram) -> tuple[float, float | None] | None:
    """ROC-AUC, pairs in one bin counting half, and its standard error, None with fewer than two images of either kind.

    None where a kind is missing.
    """
    present, absent = np.array(histogram.present, np.float64), np.array(histogram.absent, np.float64)
    positives, negatives = present.sum(), absent.sum()
    if not positives or not negatives:
        return None
    beaten = (np.cumsum(absent) - absent / 2) / negatives  # share of negatives that a positive in this bin outranks
    outranked = 1 - (np.cumsum(present) - present / 2) / positives
    area = float(present @ beaten / positives)
    if min(positives, negatives) < 2:
        return area, None
    variance = present @ (beaten - area) ** 2 / (positives * (positives - 1))
    variance += absent @ (outranked - area) ** 2 / (negatives * (negatives - 1))
    return area, float(np.sqrt(variance))


def hospital_gaps(histograms: Mapping[str, Mapping[str, ScoreHistogram]], labels: Sequence[str]) -> dict[str, Any]:
    """By hospital ``mean`` and ``labels`` as a group of ``subgroup_scores`` has them, with ``roc_auc`` alone.

    ``histograms[label][hospital]``. A hospital is compared with all others' images together, on labels with ten
    positives and ten negatives on both sides.
    """
    hospitals = sorted({name for of_label in histograms.values() for name in of_label})
    return {"groups": {name: _hospital(name, histograms, labels) for name in hospitals}}


def _hospital(
    name: str, histograms: Mapping[str, Mapping[str, ScoreHistogram]], labels: Sequence[str]
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    compared: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {}
    images = 0
    for label in labels:
        of_label = histograms.get(label, {})
        mine, others = of_label.get(name), [one for site, one in of_label.items() if site != name]
        if mine is None:
            reason = "The hospital does not tell how its images of this label are scored."
            rows[label] = {"support": None, "known": None, "descriptive": True, "reason": reason}
            continue
        support, known = sum(mine.present), sum(mine.present) + sum(mine.absent)
        images = max(images, known)
        own = roc_auc_with_error(mine)
        rest = pooled(others) if others else None
        other = roc_auc_with_error(rest) if rest else None
        enough = not _few(mine)
        if enough and rest and not _few(rest) and own and other and own[1] is not None and other[1] is not None:
            compared[label] = ((own[0], own[1]), (other[0], other[1]))
        rows[label] = {"support": support, "known": known, "descriptive": not enough, "reason": None}
        rows[label]["roc_auc"] = _told(own if enough else own and (own[0], None), compared.get(label, (None, None))[1])
    # (labels, 2 sides, area and error); the mean of the errors is the most that the mean's own can be
    own_mean, other_mean = np.mean(list(compared.values()), axis=0).tolist() if compared else (None, None)
    why = "No label has ten positives and negatives both here and at the others."
    return {
        "images": images or None,
        "reason": None,
        "mean": {
            "labels": list(compared),
            "reason": None if compared else why,
            "roc_auc": _told(own_mean, other_mean),
        },
        "labels": rows,
    }


def _few(histogram: ScoreHistogram) -> bool:
    return is_descriptive(sum(histogram.present), sum(histogram.present) + sum(histogram.absent))


def _told(own: tuple[float, float | None] | None, others: tuple[float, float | None] | None) -> dict[str, Any]:
    value, error = own or (None, None)
    other, other_error = others or (None, None)
    gap = value - other if value is not None and other is not None else None
    gap_error = math.hypot(error, other_error) if error is not None and other_error is not None else None
    return {
        "value": value,
        "interval": _around(value, error, 0.0, 1.0),
        "others": other,
        "gap": gap,
        "gap_interval": _around(gap, gap_error, -1.0, 1.0),
    }


def _around(value: float | None, error: float | None, lowest: float, highest: float) -> list[float] | None:
    if value is None or error is None:
        return None
    half = float(norm.ppf((1 + LEVEL) / 2)) * error
    return [max(lowest, value - half), min(highest, value + half)]
