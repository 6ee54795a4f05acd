"""Scores of the cancer head: every CT slice belongs to exactly one class, or its class is unknown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from fedthorax.common.metrics.ranking import RANKINGS, is_descriptive, ranking_scores

METRICS = (*RANKINGS, "precision", "recall", "specificity", "f1")


def cancer_scores(
    truth: NDArray[np.integer], probability: NDArray[np.floating], classes: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, per-class figures and their means, and the confusion matrix, as a value that JSON can hold.

    ``truth`` is (N,) with indices into ``classes`` and -1 unknown; unknown slices are left out everywhere.
    ``probability`` is (N, C) in [0, 1]; the prediction is the class with the highest probability. Figures of a
    class are of one class against all others. ``confusion_matrix[i][j]`` counts slices of class i that were taken for
    class j. An undefined figure is None and ``reasons`` says why. ``macro`` is the mean over the classes that have the
    figure, ``weighted`` the mean weighted by their slices, ``micro`` takes every (slice, class) cell alike;
    ``num_classes`` says over how many classes each runs.
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
            none, all_of_them = (
                f"None of the {num_known} slices belongs to this class.",
                f"All {num_known} slices belong to this class.",
            )
            ranked, reasons = ranking_scores(belongs, probability[:, index], none, all_of_them)
            scores |= ranked
            if support == 0:
                reasons |= dict.fromkeys(("recall", "f1"), none)
            else:
                scores["recall"], scores["f1"] = float(recall[index]), float(f1[index])
            if support == num_known:
                reasons["specificity"] = all_of_them
            else:
                scores["specificity"] = float((predicted[~belongs] != index).mean())
            if (predicted == index).any():
                scores["precision"] = float(precision[index])
            else:
                reasons["precision"] = "No slice was predicted to belong to this class."
        descriptive = is_descriptive(support, num_known)
        per_class[name] = {**scores, "support": support, "descriptive": descriptive, "reasons": reasons}

    return {
        "accuracy": accuracy,
        "macro": _mean_over_classes(per_class, weighted=False),
        "weighted": _mean_over_classes(per_class, weighted=True),
        "micro": _micro(truth, predicted, probability),
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


def _mean_over_classes(per_class: Mapping[str, Mapping[str, Any]], *, weighted: bool) -> dict[str, Any]:
    scores: dict[str, float | None] = {}
    counts: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for metric in METRICS:
        defined = [
            (row[metric], row["support"] if weighted else 1)
            for row in per_class.values()
            if row[metric] is not None and (row["support"] > 0 or not weighted)
        ]
        counts[metric] = len(defined)
        if defined:
            values, weights = zip(*defined, strict=True)
            scores[metric] = float(np.average(values, weights=weights))
        else:
            scores[metric] = None
            reasons[metric] = "No class has this figure."
    return {**scores, "num_classes": counts, "reasons": reasons}


def _micro(truth: NDArray[np.int64], predicted: NDArray[np.int64], probability: NDArray[np.float64]) -> dict[str, Any]:
    """Over all (slice, class) cells; with one class a slice, precision, recall and F1 all equal the accuracy."""
    num_classes = probability.shape[1]
    if not len(truth):
        nothing = dict.fromkeys(METRICS, "No label is known.")
        return {**dict.fromkeys(METRICS), "num_classes": dict.fromkeys(METRICS, 0), "reasons": nothing}
    belongs = truth[:, None] == np.arange(num_classes)
    named = predicted[:, None] == np.arange(num_classes)
    ranked, _ = ranking_scores(belongs.ravel(), probability.ravel(), "", "")
    right = float((truth == predicted).mean())
    scores = {**ranked, **dict.fromkeys(("precision", "recall", "f1"), right)}
    scores["specificity"] = float((~named[~belongs]).mean())
    return {**scores, "num_classes": dict.fromkeys(METRICS, num_classes), "reasons": {}}
