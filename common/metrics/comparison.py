"""Two models on the same images of the same patients: by how much one is better, and whether chance explains it.

Finding by finding (class by class) the difference of the ROC-AUC has DeLong's interval and p-value, and all p-values
together are corrected as Holm does. Means have paired bootstrap intervals. Descriptive findings, with fewer than ten
positives or negatives, are shown but neither tested nor part of the means.
"""

from typing import Any

from sklearn.metrics import roc_auc_score

from fedthorax.common.metrics.answers import Answers
from fedthorax.common.metrics.delong import delong_difference, holm
from fedthorax.common.metrics.intervals import paired_difference, resampled
from fedthorax.common.metrics.resampling import is_descriptive


def compare(first: Answers, second: Answers, samples: int, seed: int) -> dict[str, Any]:
    """``rows``, one a label, ``mean`` with the paired difference of the mean ROC-AUC, and ``accuracy`` of classes.

    A row holds ``name``, ``support``, ``known``, ``descriptive``, ``first``, ``second`` (ROC-AUC), ``difference``,
    ``interval``, ``p_value``, ``p_holm`` and ``reason``, which says why one is null. ``mean`` is that of
    ``paired_difference`` with ``names``, the labels it runs over: the findings that have ten positives and negatives,
    or all classes, because a class needs the others; None where there is none, or one class is descriptive.
    ``accuracy`` is a ``paired_difference`` too, None where no class is known.
    """
    rows = [_row(first, second, column) for column in range(len(first.names))]
    ranked, accuracy = _corrected(rows), dict[str, Any]()
    if first.task == "disease":
        first, second = first.of_labels(ranked), second.of_labels(ranked)
    else:
        known = first.with_label
        first, second, accuracy = first.of_images(known), second.of_images(known), {"accuracy": None}
        ranked = ranked if len(ranked) == len(first.names) else []
    mean = None
    if first.known.any():
        one, other = (resampled(answers, samples, seed) for answers in (first, second))
        if ranked:
            mean = {"names": ranked, **paired_difference([one], [other], ("macro", "roc_auc"))}
        accuracy = {name: paired_difference([one], [other], (name,)) for name in accuracy}
    return {"rows": rows, "mean": mean, **accuracy}


def _row(one: Answers, other: Answers, column: int) -> dict[str, Any]:
    name, is_known = one.names[column], one.known[:, column]
    present, first, second = (part[is_known, column] for part in (one.present, one.score, other.score))
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
    tested = delong_difference(present, first, second, one.people(column))
    if tested is None:
        return row | {"reason": "Too few patients, or no spread, to tell the error."}
    return row | {"interval": list(tested.interval), "p_value": tested.p_value}


def _corrected(rows: list[dict[str, Any]]) -> list[str]:
    """Puts ``p_holm`` into the rows that were tested; the names of those that are not descriptive."""
    adjusted = holm({row["name"]: row["p_value"] for row in rows if row["p_value"] is not None})
    for row in rows:
        row["p_holm"] = adjusted.get(row["name"])
    return [row["name"] for row in rows if not row["descriptive"]]
