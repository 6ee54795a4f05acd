"""A patient, not a slice: what all slices of an examination say together.

An examination is every CT slice of a patient on one side's split. Its class is the one that its labelled slices share;
where they do not, it has none and is counted as mixed. Nothing is claimed where no patient is known to have several
slices: a file without a patient's name may show anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.evaluation import ExaminationRule
from fedthorax.common.metrics.answers import class_answers
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.intervals import bootstrap
from fedthorax.common.records.records import UNKNOWN_CLASS

NO_SERIES = "No patient is known to have several slices."


@dataclass(frozen=True)
class Examinations:
    """``truth`` (E,) with -1 unknown, ``probability`` (E, C), ``patients`` (E,); ``mixed`` have slices of several
    classes and an unknown class."""

    truth: NDArray[np.int64]
    probability: NDArray[np.float64]
    patients: tuple[str, ...]
    mixed: int

    @classmethod
    def nobody(cls, num_classes: int) -> "Examinations":
        return cls(np.zeros(0, np.int64), np.zeros((0, num_classes)), (), 0)


def combined(probability: NDArray[np.floating], rule: ExaminationRule) -> NDArray[np.float64]:
    """(slices, C) → (C,). ``mean`` over the slices; ``highest``: each class as the slice says that says it most, made
    to sum to 1, for what few slices show."""
    if rule == "mean":
        return probability.mean(axis=0, dtype=np.float64)
    highest = probability.max(axis=0).astype(np.float64)
    return np.asarray(highest / highest.sum(), np.float64)


def examinations_of(
    truth: NDArray[np.integer],
    probability: NDArray[np.floating],
    patients: Sequence[str],
    named: Sequence[bool],
    rule: ExaminationRule,
) -> Examinations | None:
    """Of slices: ``truth`` (N,), ``probability`` (N, C) with NaN where a slice was not scored.

    ``named``: whether the patient is known; an empty sequence: all are. None where no patient has several slices.
    """
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(~np.isnan(probability).any(axis=1)).tolist():
        if not named or named[row]:
            rows.setdefault(patients[row], []).append(row)
    if not any(len(of_one) > 1 for of_one in rows.values()):
        return None
    known = [{int(truth[row]) for row in of_one} - {UNKNOWN_CLASS} for of_one in rows.values()]
    return Examinations(
        np.array([next(iter(classes)) if len(classes) == 1 else UNKNOWN_CLASS for classes in known], np.int64),
        np.stack([combined(probability[of_one], rule) for of_one in rows.values()]),
        tuple(rows),
        sum(len(classes) > 1 for classes in known),
    )


def examination_scores(
    found: Examinations | None, classes: Sequence[str], rule: ExaminationRule, samples: int, seed: int
) -> dict[str, Any]:
    """``ExaminationScores`` of common/metrics/scores.py, JSON-ready, with intervals by patient where ``samples``."""
    if found is None:
        return {"rule": rule, "mixed": None, "reason": NO_SERIES, "cancer": None, "intervals": None}
    answers = class_answers(found.truth, found.probability, classes, found.patients)
    return {
        "rule": rule,
        "mixed": found.mixed,
        "reason": None,
        "cancer": head_scores(answers),
        "intervals": {"cancer": bootstrap(answers, samples, seed)} if samples else None,
    }
