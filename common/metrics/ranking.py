"""Figures of how scores rank images, for which no decision threshold is needed, and when they only describe."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

RANKINGS = ("roc_auc", "pr_auc", "sensitivity_at_specificity")
SPECIFICITY = 0.9
"""At which ``sensitivity_at_specificity`` is read: no more than one false alarm in ten images without the finding."""

MIN_IMAGES = 10
_ROUNDING = 1e-9


def is_descriptive(positives: int, known: int) -> bool:
    """Whether a figure only describes the images at hand: fewer than ``MIN_IMAGES`` positives or negatives.

    Such figures have no interval in reports and enter no comparison of models or hospitals.
    """
    return min(positives, known - positives) < MIN_IMAGES


def ranking_scores(
    present: NDArray[np.bool_], score: NDArray[np.float64], no_positive: str, no_negative: str
) -> tuple[dict[str, float | None], dict[str, str]]:
    """``RANKINGS`` of scores (N,), N at least 1, and reasons: all are undefined with positives or negatives only.

    ``pr_auc`` is average precision: precision at each positive, averaged; by chance it is the share of positives.
    ``sensitivity_at_specificity`` is the largest share of positives that a threshold finds which leaves at least
    ``SPECIFICITY`` of the negatives alone.
    """
    if present.all() or not present.any():
        return dict.fromkeys(RANKINGS), dict.fromkeys(RANKINGS, no_negative if present.any() else no_positive)
    fpr, tpr, _ = roc_curve(present, score, drop_intermediate=False)
    return {
        "roc_auc": float(roc_auc_score(present, score)),
        "pr_auc": float(average_precision_score(present, score)),
        "sensitivity_at_specificity": float(tpr[fpr <= 1 - SPECIFICITY + _ROUNDING].max()),
    }, {}
