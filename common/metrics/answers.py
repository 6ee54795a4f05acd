"""What a model said of images whose labels are known in part, label by label: one form for both heads."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, Cells, Metric

Thresholds = float | Sequence[float]
"""One for all findings, or one for each in their order."""


@dataclass(frozen=True)
class Answers:
    """Of N images and K labels: all (N, K), ``predicted`` at the thresholds. ``patients`` names that of each image.

    A class stands against all others: known where the slice's class is, and predicted where it is the most probable.
    """

    task: Literal["disease", "cancer"]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    known: NDArray[np.bool_]
    present: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    score: NDArray[np.float64]
    thresholds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def group(self) -> str:
        """Under which the labels stand in the scores."""
        return "per_finding" if self.task == "disease" else "per_class"

    @property
    def metrics(self) -> dict[str, Metric]:
        return FINDING_METRICS if self.task == "disease" else CLASS_METRICS

    def cells(self, weights: NDArray[np.int32], images: NDArray[np.int64], columns: NDArray[np.int64]) -> Cells:
        chosen = (images, columns)
        return Cells(weights[images], self.present[chosen], self.predicted[chosen], self.score[chosen])

    def once(self, column: int | None = None) -> Cells:
        """The known cells of a label, or of all, each once."""
        columns = slice(column, None if column is None else column + 1)
        images, labels = np.nonzero(self.known[:, columns])
        return self.cells(np.ones((len(self.known), 1), np.int32), images, labels + (column or 0))

    @property
    def with_label(self) -> NDArray[np.bool_]:
        """(N,): the images of which all labels are known, of slices those of known class."""
        return np.asarray(self.known.all(axis=1))

    def of_images(self, chosen: NDArray[np.bool_]) -> "Answers":
        """``chosen`` is (N,)."""
        parts = {name: getattr(self, name)[chosen] for name in ("known", "present", "predicted", "score")}
        patients = np.asarray(self.patients, object)[chosen] if self.patients else ()
        return replace(self, patients=tuple(patients), **parts)

    def of_labels(self, names: Sequence[str]) -> "Answers":
        columns = [self.names.index(name) for name in names]
        parts = {name: getattr(self, name)[:, columns] for name in ("known", "present", "predicted", "score")}
        return replace(self, names=tuple(names), **parts)

    def people(self, column: int | None = None) -> list[str]:
        """The patients of the images of which the label is known, or any."""
        is_known = np.asarray(self.known.any(axis=1)) if column is None else self.known[:, column]
        return [patient for patient, known in zip(self.patients, is_known, strict=True) if known]


def finding_answers(
    truth: NDArray[np.floating],
    probability: NDArray[np.floating],
    findings: Sequence[str],
    threshold: Thresholds = 0.5,
    patients: Sequence[str] = (),
) -> Answers:
    """``truth`` is (N, F) with 1 present, 0 absent, NaN unknown; ``probability`` is (N, F) in [0, 1], and a finding
    counts as predicted from its ``threshold`` on. ValueError says what does not fit."""
    labels = np.asarray(truth).astype(np.float64)
    scores = np.asarray(probability).astype(np.float64)
    for name, array in (("truth", labels), ("probability", scores)):
        if array.ndim != 2 or array.shape[1] != len(findings):
            raise ValueError(f"{name} must have shape (images, {len(findings)} findings), got {array.shape}")
    if len(labels) != len(scores):
        raise ValueError(f"truth has {len(labels)} images, but probability has {len(scores)}")
    if not np.all(np.isnan(labels) | (labels == 0) | (labels == 1)):
        raise ValueError("truth must hold 1 (present), 0 (absent) or NaN (unknown) only")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError("probability must lie in [0, 1], but holds a value outside it or NaN")
    row = np.asarray(threshold, np.float64)
    if row.shape not in ((), (len(findings),)):
        raise ValueError(f"threshold must be one number or {len(findings)}, got shape {row.shape}")
    thresholds = np.broadcast_to(row, (len(findings),))
    known = ~np.isnan(labels)
    return Answers(
        "disease", tuple(findings), tuple(patients), known, labels == 1, scores >= thresholds, scores, thresholds
    )


def class_answers(
    truth: NDArray[np.integer],
    probability: NDArray[np.floating],
    classes: Sequence[str],
    patients: Sequence[str] = (),
) -> Answers:
    """``truth`` is (N,) with indices into ``classes`` and -1 unknown; ``probability`` is (N, C) in [0, 1]. ValueError
    says what does not fit."""
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
    columns = np.arange(len(classes))
    known = np.repeat((labels >= 0)[:, None], len(classes), axis=1)
    predicted = scores.argmax(axis=1)[:, None] == columns
    return Answers("cancer", tuple(classes), tuple(patients), known, labels[:, None] == columns, predicted, scores)
