"""Scores of both heads: a finding is a yes-or-no question of its own, a CT slice belongs to exactly one class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedthorax.common.metrics.answers import Answers
from fedthorax.common.metrics.figures import Need, mean_of, scored
from fedthorax.common.metrics.resampling import is_descriptive


def head_scores(answers: Answers) -> dict[str, Any]:
    """Label by label, and the macro, weighted and micro means, as a value that JSON can hold.

    An unknown label enters no numerator and no denominator. An undefined figure is None and ``reasons`` says why;
    ``descriptive`` marks labels with fewer than ten positives or negatives. ``macro`` is the plain mean over the labels
    that have the figure, ``weighted`` the mean weighted by the images that show them, ``micro`` takes every known
    (image, label) cell alike; ``num_findings`` (``num_classes``) says over how many each runs. Of classes also the
    accuracy, and ``confusion_matrix[i][j]``, which counts slices of class i that were taken for class j.
    """
    rows = {name: _row(answers, column) for column, name in enumerate(answers.names)}
    if answers.task == "disease":
        return {answers.group: rows, **_means(answers, rows)}
    known = answers.with_label
    present, predicted = answers.present[known], answers.predicted[known]
    return {
        "accuracy": float((present & predicted).any(axis=1).mean()) if len(present) else None,
        **_means(answers, rows),
        answers.group: rows,
        "confusion_matrix": (present.T.astype(np.int64) @ predicted).tolist(),
        "known": len(present),
        "reasons": {} if len(present) else {"accuracy": "No label is known."},
    }


def _row(answers: Answers, column: int) -> dict[str, Any]:
    cells = answers.once(column)
    number, support = len(cells.present), int(cells.present.sum())
    reasons: dict[Need, str] = {
        "positives": f"None of the slices ({number}) belongs to this class.",
        "negatives": f"All slices ({number}) belong to this class.",
        "predicted": "No slice was predicted to belong to this class.",
    }
    if answers.task == "disease":
        at = f"Nothing was predicted present at threshold {answers.thresholds[column]:g}."
        reasons = _of_findings(number, at)
    scores, why = scored(cells, answers.metrics, reasons)
    known = {"known": number} if answers.task == "disease" else {}
    return {**scores, "support": support, **known, "descriptive": is_descriptive(support, number), "reasons": why}


def _of_findings(number: int, nothing_predicted: str) -> dict[Need, str]:
    return {
        "positives": f"None of the known labels ({number}) is present.",
        "negatives": f"All known labels ({number}) are present.",
        "predicted": nothing_predicted,
    }


def _means(answers: Answers, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    findings = answers.task == "disease"
    over, label = ("num_findings", "finding") if findings else ("num_classes", "class")
    found = {}
    for name in ("macro", "weighted"):
        scores, counts, why = mean_of(
            rows, answers.metrics, weighted=name == "weighted", nothing=f"No {label} has this figure."
        )
        found[name] = {**scores, over: counts, "reasons": why}
    cells = answers.once()
    reasons: dict[Need, str] = {"negatives": "There is one class."}
    if findings:
        reasons = _of_findings(len(cells.present), "Nothing was predicted present at the thresholds.")
    together, why = scored(cells, answers.metrics, reasons)
    number = int(answers.known.any(axis=0).sum())
    runs = {metric: 0 if findings and together[metric] is None else number for metric in answers.metrics}
    return found | {"micro": {**together, over: runs, "reasons": why}}
