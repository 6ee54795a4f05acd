"""Scores of the disease head: each finding is a yes-or-no question of its own, and a label may be unknown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.metrics.figures import FINDING_METRICS, Cells, mean_of, scored
from fedthorax.common.metrics.resampling import is_descriptive

Thresholds = float | Sequence[float]
"""One for all findings, or one for each in their order."""


def disease_scores(
    truth: NDArray[np.floating], probability: NDArray[np.floating], findings: Sequence[str], threshold: Thresholds
) -> dict[str, Any]:
    """Per finding, and the macro, weighted and micro means, as a value that JSON can hold.

    ``truth`` is (N, F) with 1 present, 0 absent, NaN unknown; an unknown label enters no numerator and no denominator.
    ``probability`` is (N, F) in [0, 1]; a finding counts as predicted from its ``threshold`` on. An undefined figure is
    None and ``reasons`` says why; ``descriptive`` marks findings with fewer than ten positives or negatives. ``macro``
    is the plain mean over the findings that have the figure, ``weighted`` the mean weighted by the number of images
    that show the finding, ``micro`` takes every known (image, finding) cell alike; ``num_findings`` says of each over
    how many findings it runs.
    """
    truth, probability = checked_disease_arrays(truth, probability, findings)
    thresholds = threshold_row(threshold, findings)
    predicted = probability >= thresholds
    per_finding = {
        name: _scores_of_cells(
            truth[:, column],
            probability[:, column],
            predicted[:, column],
            f"Nothing was predicted present at threshold {thresholds[column]:g}.",
        )
        for column, name in enumerate(findings)
    }
    return {
        "per_finding": per_finding,
        "macro": _mean_over_findings(per_finding, weighted=False),
        "weighted": _mean_over_findings(per_finding, weighted=True),
        "micro": _micro(truth, probability, predicted, per_finding),
    }


def threshold_row(threshold: Thresholds, findings: Sequence[str]) -> NDArray[np.float64]:
    """(F,) thresholds, or a ValueError that says how many were expected."""
    row = np.asarray(threshold, np.float64)
    if row.shape not in ((), (len(findings),)):
        raise ValueError(f"threshold must be one number or {len(findings)}, got shape {row.shape}")
    return np.broadcast_to(row, (len(findings),))


def checked_disease_arrays(
    truth: NDArray[np.floating], probability: NDArray[np.floating], findings: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both arrays as float64 (N, F), or a ValueError that says what does not fit."""
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
    return labels, scores


def _scores_of_cells(
    truth: NDArray[np.float64], probability: NDArray[np.float64], named: NDArray[np.bool_], nothing_named: str
) -> dict[str, Any]:
    """The figures of one finding, or of all cells together; the arrays are (N,), ``named`` what is predicted."""
    known = ~np.isnan(truth)
    present = truth[known] == 1
    cells = Cells(np.ones((len(present), 1), np.int32), present, named[known], probability[known])
    num_known, support = len(present), int(present.sum())
    scores, reasons = scored(
        cells,
        FINDING_METRICS,
        {
            "positives": f"None of the {num_known} known labels is present.",
            "negatives": f"All {num_known} known labels are present.",
            "predicted": nothing_named,
        },
    )
    counts = {"support": support, "known": num_known, "descriptive": is_descriptive(support, num_known)}
    return {**scores, **counts, "reasons": reasons}


def _mean_over_findings(per_finding: Mapping[str, Mapping[str, Any]], *, weighted: bool) -> dict[str, Any]:
    nothing = "No finding has this figure."
    scores, counts, reasons = mean_of(per_finding, FINDING_METRICS, weighted=weighted, nothing=nothing)
    return {**scores, "num_findings": counts, "reasons": reasons}


def _micro(
    truth: NDArray[np.float64],
    probability: NDArray[np.float64],
    predicted: NDArray[np.bool_],
    per_finding: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    scores = _scores_of_cells(
        truth.ravel(), probability.ravel(), predicted.ravel(), "Nothing was predicted present at the thresholds."
    )
    num_known = sum(finding["known"] > 0 for finding in per_finding.values())
    return {
        **{metric: scores[metric] for metric in FINDING_METRICS},
        "num_findings": {metric: 0 if scores[metric] is None else num_known for metric in FINDING_METRICS},
        "reasons": scores["reasons"],
    }
