"""Points of ROC curves, few enough to draw."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fedthorax.common.metrics.cancer import known_cancer_rows
from fedthorax.common.metrics.disease import checked_disease_arrays

Curve = dict[str, list[float]]


def roc_points(present: NDArray[np.bool_], score: NDArray[np.floating], limit: int = 200) -> Curve | None:
    """``fpr`` and ``tpr`` from (0, 0) to (1, 1), at most ``limit`` points; None where only one class is present.

    A longer curve is thinned to points that lie evenly along it, so that it looks the same when drawn; the ROC-AUC is
    computed elsewhere, from every image.
    """
    if limit < 2:
        raise ValueError(f"limit must be 2 or more, got {limit}")
    if present.all() or not present.any():
        return None
    fpr, tpr, _ = roc_curve(present, score)
    if len(fpr) > limit:
        along = fpr + tpr  # grows strictly from 0 to 2
        wanted = np.searchsorted(along, np.linspace(0, 2, limit))
        wanted = np.unique(np.minimum(wanted, len(fpr) - 1))
        fpr, tpr = fpr[wanted], tpr[wanted]
    return {"fpr": np.round(fpr, 5).tolist(), "tpr": np.round(tpr, 5).tolist()}


def disease_curves(
    truth: NDArray[np.floating], probability: NDArray[np.floating], findings: Sequence[str], limit: int = 200
) -> dict[str, Curve | None]:
    """One curve a finding, over the images whose label is known; arrays as in ``disease_scores``."""
    truth, probability = checked_disease_arrays(truth, probability, findings)
    curves: dict[str, Curve | None] = {}
    for column, name in enumerate(findings):
        known = ~np.isnan(truth[:, column])
        curves[name] = roc_points(truth[known, column] == 1, probability[known, column], limit)
    return curves


def cancer_curves(
    truth: NDArray[np.integer], probability: NDArray[np.floating], classes: Sequence[str], limit: int = 200
) -> dict[str, Curve | None]:
    """One curve a class against all others, over the slices whose class is known; arrays as in ``cancer_scores``."""
    labels, scores = known_cancer_rows(truth, probability, classes)
    return {name: roc_points(labels == index, scores[:, index], limit) for index, name in enumerate(classes)}
