"""How far probabilities can be taken at their word: calibration error by bins, Brier score, reliability diagram.

The expected calibration error is the mean distance, over equally wide bins weighted by their images, between the mean
probability and the share of positives (Naeini et al., AAAI 2015). By chance alone it is above 0, the more so the fewer
the images, in each resample too: an interval that does not reach 0 is no proof of bad calibration. Of the CT classes it
is that of the most probable class (Guo et al., ICML 2017), and the Brier score sums over the classes: 0 to 2.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fedthorax.common.metrics.answers import Answers
from fedthorax.common.metrics.resampling import image_weights, percentile_interval

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


def curves(answers: Answers, limit: int = 200) -> dict[str, Curve | None]:
    """One curve a label, over the images whose label is known; a class stands against all others."""
    cells = {name: answers.once(column) for column, name in enumerate(answers.names)}
    return {name: roc_points(of_label.present, of_label.score, limit) for name, of_label in cells.items()}


def calibration(answers: Answers, bins: int, samples: int, seed: int) -> dict[str, Any]:
    """By finding ``ece``, ``ece_interval``, ``brier``, ``brier_interval``, ``known``, ``bins`` and ``reason``; of
    classes the same of the most probable one of each slice: is it right as often as it is sure?

    A bin is ``{low, high, count, mean_probability, share_positive}``; empty bins are left out. Without a known label
    figures are None and ``reason`` says so.
    """
    rest = (bins, samples, seed)
    if answers.task == "disease":
        found = {}
        for column, name in enumerate(answers.names):
            cells = answers.once(column)
            truth = cells.present.astype(np.float64)
            found[name] = _calibration(truth, cells.score, (cells.score - truth) ** 2, answers.people(column), *rest)
        return found
    mine = answers.of_images(answers.with_label)
    right = np.asarray((mine.present & mine.predicted).any(axis=1), np.float64)
    brier = np.asarray(((mine.score - mine.present) ** 2).sum(axis=1))
    surest = mine.score.max(axis=1, initial=0)
    return _calibration(right, np.minimum(np.asarray(surest), 1.0), brier, mine.patients, *rest)


def _calibration(
    truth: NDArray[np.float64],
    probability: NDArray[np.float64],
    squared_error: NDArray[np.float64],
    patients: Sequence[str],
    bins: int,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    if not len(truth):
        nothing = dict.fromkeys(("ece", "ece_interval", "brier", "brier_interval"))
        return {**nothing, "known": 0, "bins": [], "reason": "No label is known."}
    chosen = np.minimum((probability * bins).astype(int), bins - 1)
    inside = (chosen[:, None] == np.arange(bins)).astype(np.float64)
    distance = inside * (probability - truth)[:, None]
    errors, scores = [], []
    for weights in image_weights(patients, len(truth), samples, seed):
        as_float = weights.T.astype(np.float64)
        total = as_float.sum(axis=1)
        errors.append(np.abs(as_float @ distance).sum(axis=1) / total)
        scores.append(as_float @ squared_error / total)
    ece, brier = np.concatenate(errors), np.concatenate(scores)
    num_patients = len(set(patients))
    return {
        "ece": float(ece[0]),
        "ece_interval": percentile_interval(ece, num_patients)[0],
        "brier": float(brier[0]),
        "brier_interval": percentile_interval(brier, num_patients)[0],
        "known": len(truth),
        "bins": [
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "count": int(rows.sum()),
                "mean_probability": float(probability[rows].mean()),
                "share_positive": float(truth[rows].mean()),
            }
            for number in range(bins)
            if (rows := chosen == number).any()
        ],
        "reason": None,
    }
