"""Two models on the same images of the same patients: by how much one is better, and whether chance explains it.

Finding by finding (class by class) the difference of the ROC-AUC has DeLong's interval and p-value, and all p-values
together are corrected as Holm does. Means have paired bootstrap intervals. Descriptive findings, with fewer than ten
positives or negatives, are shown but neither tested nor part of the means.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fedthorax.common.metrics.delong import delong_difference, holm
from fedthorax.common.metrics.disease import checked_disease_arrays
from fedthorax.common.metrics.intervals import cancer_resamples, disease_resamples, paired_difference
from fedthorax.common.metrics.resampling import is_descriptive

_UNUSED_THRESHOLD = 0.5  # ROC-AUC does not depend on it


def compare_disease(
    truth: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    patients: Sequence[str],
    findings: Sequence[str],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """``rows``, one a finding, and ``mean`` with the paired difference of the mean ROC-AUC.

    Arrays are those of ``disease_scores``, ``patients`` names the patient of each image. A row holds ``name``,
    ``support``, ``known``, ``descriptive``, ``first``, ``second`` (ROC-AUC), ``difference``, ``interval``, ``p_value``,
    ``p_holm`` and ``reason``, which says why one is null. ``mean`` is that of ``paired_difference`` with ``names``, the
    findings it runs over, or None where none has ten positives and negatives.
    """
    truth, first = checked_disease_arrays(truth, first, findings)
    _, second = checked_disease_arrays(truth, second, findings)
    rows = []
    for column, name in enumerate(findings):
        known = ~np.isnan(truth[:, column])
        mine = [patient for patient, is_known in zip(patients, known, strict=True) if is_known]
        present = truth[known, column] == 1
        rows.append(_row(name, present, first[known, column], second[known, column], mine))
    ranked = _corrected(rows)
    columns = [findings.index(name) for name in ranked]
    mean = None
    if columns:
        resamples = [
            disease_resamples(truth[:, columns], model[:, columns], patients, ranked, _UNUSED_THRESHOLD, samples, seed)
            for model in (first, second)
        ]
        difference = paired_difference(resamples[:1], resamples[1:], ("macro", "roc_auc"))
        mean = {"names": ranked, **difference}
    return {"rows": rows, "mean": mean}


def compare_cancer(
    truth: NDArray[np.integer],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    patients: Sequence[str],
    classes: Sequence[str],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """As ``compare_disease``, one class against all others, and ``accuracy``, a ``paired_difference`` too.

    Arrays are those of ``cancer_scores``. The mean runs over all classes, because a class needs the others; it is None
    where one of them is descriptive. ``accuracy`` is None where no class is known.
    """
    known = np.asarray(truth) >= 0
    mine = [patient for patient, is_known in zip(patients, known, strict=True) if is_known]
    labels, first, second = np.asarray(truth)[known], np.asarray(first)[known], np.asarray(second)[known]
    rows = [
        _row(name, labels == column, first[:, column], second[:, column], mine) for column, name in enumerate(classes)
    ]
    ranked = _corrected(rows)
    mean = accuracy = None
    if len(labels):
        resamples = [cancer_resamples(labels, model, mine, classes, samples, seed) for model in (first, second)]
        accuracy = paired_difference(resamples[:1], resamples[1:], ("accuracy",))
        if len(ranked) == len(classes):
            difference = paired_difference(resamples[:1], resamples[1:], ("macro", "roc_auc"))
            mean = {"names": ranked, **difference}
    return {"rows": rows, "mean": mean, "accuracy": accuracy}


def _row(
    name: str,
    present: NDArray[np.bool_],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    patients: Sequence[str],
) -> dict[str, Any]:
    support, known = int(present.sum()), len(present)
    descriptive = is_descriptive(support, known)
    row: dict[str, Any] = {"name": name, "support": support, "known": known, "descriptive": descriptive}
    row |= dict.fromkeys(("first", "second", "difference", "interval", "p_value", "p_holm", "reason"))
    if support in (0, known):
        return row | {"reason": "No label is known." if not known else "Only one of present and absent occurs."}
    areas = [float(roc_auc_score(present, score)) for score in (first, second)]
    row |= {"first": areas[0], "second": areas[1], "difference": areas[0] - areas[1]}
    if descriptive:
        return row | {"reason": "Fewer than ten positives or negatives: descriptive, not tested."}
    tested = delong_difference(present, first, second, patients)
    if tested is None:
        return row | {"reason": "Too few patients, or no spread, to tell the error."}
    return row | {"interval": list(tested.interval), "p_value": tested.p_value}


def _corrected(rows: list[dict[str, Any]]) -> list[str]:
    """Puts ``p_holm`` into the rows that were tested; the names of those that are not descriptive."""
    adjusted = holm({row["name"]: row["p_value"] for row in rows if row["p_value"] is not None})
    for row in rows:
        row["p_holm"] = adjusted.get(row["name"])
    return [row["name"] for row in rows if not row["descriptive"]]
