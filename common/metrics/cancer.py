"""Scores of the cancer head: every CT slice belongs to exactly one class, or its class is unknown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.metrics.figures import CLASS_METRICS, Cells, mean_of, scored
from fedthorax.common.metrics.resampling import is_descriptive


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
    accuracy = float((truth == predicted).mean()) if num_known else None
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (truth, predicted), 1)

    per_class: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(classes):
        support = int((truth == index).sum())
        scores, reasons = scored(
            _one_against_all(truth == index, predicted == index, probability[:, index]),
            CLASS_METRICS,
            {
                "positives": f"None of the {num_known} slices belongs to this class.",
                "negatives": f"All {num_known} slices belong to this class.",
                "predicted": "No slice was predicted to belong to this class.",
            },
        )
        descriptive = is_descriptive(support, num_known)
        per_class[name] = {**scores, "support": support, "descriptive": descriptive, "reasons": reasons}

    return {
        "accuracy": accuracy,
        "macro": _mean_over_classes(per_class, weighted=False),
        "weighted": _mean_over_classes(per_class, weighted=True),
        "micro": _micro(truth, predicted, probability),
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
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


def _one_against_all(belongs: NDArray[np.bool_], predicted: NDArray[np.bool_], score: NDArray[np.float64]) -> Cells:
    return Cells(np.ones((len(belongs), 1), np.int32), belongs, predicted, score)


def _mean_over_classes(per_class: Mapping[str, Mapping[str, Any]], *, weighted: bool) -> dict[str, Any]:
    nothing = "No class has this figure."
    scores, counts, reasons = mean_of(per_class, CLASS_METRICS, weighted=weighted, nothing=nothing)
    return {**scores, "num_classes": counts, "reasons": reasons}


def _micro(truth: NDArray[np.int64], predicted: NDArray[np.int64], probability: NDArray[np.float64]) -> dict[str, Any]:
    """Over all (slice, class) cells; with one class a slice, precision, recall and F1 all equal the accuracy."""
    classes = np.arange(probability.shape[1])
    belongs, named = truth[:, None] == classes, predicted[:, None] == classes
    cells = _one_against_all(belongs.ravel(), named.ravel(), probability.ravel())
    scores, reasons = scored(cells, CLASS_METRICS, {"negatives": "There is one class."})
    number = len(classes) if len(truth) else 0
    return {**scores, "num_classes": dict.fromkeys(CLASS_METRICS, number), "reasons": reasons}
