"""Scores of the cancer head: every CT slice belongs to exactly one class, or its class is unknown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

METRICS = ("roc_auc", "precision", "recall", "f1")


def cancer_scores(
    truth: NDArray[np.integer], probability: NDArray[np.floating], classes: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, per-class and macro figures and the confusion matrix, as a value that JSON can hold.

    ``truth`` is (N,) with indices into ``classes`` and -1 unknown; unknown slices are left out everywhere.
    ``probability`` is (N, C) in [0, 1]; the prediction is the class with the highest probability. ``roc_auc`` is one
    class against all others. ``confusion_matrix[i][j]`` counts slices of class i that were taken for class j. An
    undefined figure is None and ``reasons`` says why; ``macro`` is the mean over the classes that have the figure, and
    its ``num_classes`` says over how many.
    """
    truth, probability = known_cancer_rows(truth, probability, classes)
    num_known = len(truth)
    predicted = probability.argmax(axis=1)
    labels = list(range(len(classes)))
    if num_known:
        accuracy = float(accuracy_score(truth, predicted))
        matrix = confusion_matrix(truth, predicted, labels=labels).tolist()
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, predicted, labels=labels, average=None, zero_division=0.0
        )
    else:
        accuracy, matrix = None, [[0] * len(classes) for _ in classes]
        precision = recall = f1 = np.zeros(len(classes))

    per_class: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(classes):
        belongs = truth == index
        support = int(belongs.sum())
        scores: dict[str, float | None] = dict.fromkeys(METRICS)
        reasons: dict[str, str] = {}
        if num_known == 0:
            reasons = dict.fromkeys(METRICS, "No label is known.")
        else:
            if support == 0:
                for metric in ("roc_auc", "recall", "f1"):
                    reasons[metric] = f"None of the {num_known} slices belongs to this class."
            else:
                scores["recall"], scores["f1"] = float(recall[index]), float(f1[index])
                if support == num_known:
                    reasons["roc_auc"] = f"All {num_known} slices belong to this class."
                else:
                    scores["roc_auc"] = float(roc_auc_score(belongs, probability[:, index]))
            if (predicted == index).any():
                scores["precision"] = float(precision[index])
            else:
                reasons["precision"] = "No slice was predicted to belong to this class."
        per_class[name] = {**scores, "support": support, "reasons": reasons}

    return {
        "accuracy": accuracy,
        "macro": _mean_over_classes(per_class),
        "per_class": per_class,
        "confusion_matrix": matrix,
        "known": num_known,
        "reasons": {} if num_known else {"accuracy": "No label is known."},
    }


def known_cancer_rows(
    truth: NDArray[np.integer], probability: NDArray[np.floating], classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows with a known class, (K,) and (K, C), or a ValueError that says what does not fit."""
    labels, scores = np.asarray(truth), np.asarray(probability).astype(np.float64)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"truth must be (images,) of integers, got shape {labels.shape} of {labels.dtype}")
    if scores.shape != (len(labels), len(classes)):
        raise ValueError(
            f"probability must have shape ({len(labels)} images, {len(classes)} classes), got {scores.shape}"
        )
    if len(labels) and not (labels.min() >= -1 and labels.max() < len(classes)):
        raise ValueError(f"truth must hold -1 to {len(classes) - 1}, got {labels.min()} to {labels.max()}")
    if not np.all((scores >= 0) & (scores <= 1 + 1e-6)):
        raise ValueError("probability must lie in [0, 1], but holds a value outside it or NaN")
    known = labels >= 0
    return labels[known].astype(np.int64), scores[known]


def _mean_over_classes(per_class: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    scores: dict[str, float | None] = {}
    counts: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for metric in METRICS:
        defined = [scores_of_class[metric] for scores_of_class in per_class.values()]
        defined = [value for value in defined if value is not None]
        counts[metric] = len(defined)
        scores[metric] = float(np.mean(defined)) if defined else None
        if not defined:
            reasons[metric] = "No class has this figure."
    return {**scores, "num_classes": counts, "reasons": reasons}
