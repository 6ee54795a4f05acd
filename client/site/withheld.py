"""What of a reply may leave: scores that the hospital keeps to itself and small counts are taken out, and so are errors
that name a place on its disks. Names of files and cells of its tables the worker has not put in.

What is taken out is null, never 0, with its reason beside it where the figure has a place for one.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedthorax.client.site.settings import Limits
from fedthorax.common.messages.message import Reply
from fedthorax.common.messages.replies import Answer
from fedthorax.common.metrics.score_histogram import coarsened, parse_histogram, too_few

_LOSSES = ("loss", "disease_loss", "cancer_loss")
_FIGURES = (
    "roc_auc",
    "pr_auc",
    "sensitivity_at_specificity",
    "accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
)
_MEANS = ("macro", "weighted", "micro", "accuracy")
_A_PATH = re.compile(r"(?:^|[\s'\"(:=])(?:/[^\s/]+/|[A-Za-z]:\\|\\\\)")  # absolute; /api alone is none
_NOT_ALLOWED = "The hospital does not give this score away."


def what_may_leave(reply: Reply, limits: Limits, folders: tuple[Path, ...]) -> Reply:
    """The reply without what ``limits`` keep here. ``folders`` are the site's own, whose paths never leave."""
    if reply.error is not None:
        if any(str(folder) in reply.error for folder in folders) or _A_PATH.search(reply.error):
            why = f"{reply.site}: it cannot do the task; the hospital's own log says why"
            return reply.model_copy(update={"error": why})
        return reply
    if not isinstance(reply, Answer) or reply.results is None:
        return reply
    kept = left(reply.kind, reply.results.model_dump(mode="json"), limits)
    return reply.model_copy(update={"results": type(reply.results).model_validate_json(json.dumps(kept))})


def left(kind: str, results: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Of the results of a reply of this kind what may leave."""
    if kind == "personalise":
        return _personal(results, limits)
    for name, value in results.items():
        if _is_scores(value):
            results[name] = _scores(value, limits)
    if kind == "train" and "loss" not in limits.metrics and "train" in results:
        results["train"] = results["train"] | dict.fromkeys(_LOSSES)
    if results.get("operating_points"):
        results["operating_points"] = {
            **results["operating_points"],
            **{task: {} for task in ("disease", "cancer") if task not in limits.metrics},
        }
    if results.get("subgroups"):  # small ones the worker has hidden
        results["subgroups"] = {
            task: told if task in limits.metrics else None for task, told in results["subgroups"].items()
        }
    if results.get("histograms"):
        results["histograms"] = {
            task: {name: _histogram(value, task, limits) for name, value in labels.items()}
            for task, labels in results["histograms"].items()
        }
    if results.get("counts"):
        results["counts"] = _large_counts(results["counts"], limits.smallest_count)
    if "data" in results:
        results["data"] = _passport(results["data"], limits)
    return results


def _personal(told: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    kept = dict(told)
    if "loss" not in limits.metrics:
        kept["valid_loss"] = dict.fromkeys(told["valid_loss"])
    for name in ("common", "own"):
        kept[name] = told[name] and _scores(told[name], limits)
    if told["comparison"] is not None:
        kept["comparison"] = {
            task: _comparison(value, limits.smallest_count) if task in limits.metrics else None
            for task, value in told["comparison"].items()
        }
    return kept


def _comparison(told: Mapping[str, Any], smallest: int) -> dict[str, Any]:
    """Without rows of few images, and without means where one of these is in them."""
    few = {row["name"] for row in told["rows"] if min(row["support"], row["known"] - row["support"]) < smallest}
    if not few:
        return dict(told)
    why = f"Fewer than {smallest} images: the hospital keeps it."
    rows = [
        {
            key: value if key in ("name", "descriptive") else why if key == "reason" else None
            for key, value in row.items()
        }
        if row["name"] in few
        else row
        for row in told["rows"]
    ]
    mean = told["mean"] if told["mean"] and not few & set(told["mean"]["names"]) else None
    return {**told, "rows": rows, "mean": mean, **({"accuracy": None} if "accuracy" in told else {})}


def _histogram(value: Mapping[str, Any] | None, task: str, limits: Limits) -> dict[str, Any] | None:
    if value is None or task not in limits.metrics:
        return None
    histogram = coarsened(parse_histogram(value, value["bins"]), limits.smallest_count)
    return None if too_few(histogram, limits.smallest_count) else histogram.as_dict()


def _large_counts(counts: Mapping[str, Any], smallest: int) -> dict[str, Any]:
    """A part of the model behind which there are too few images is not averaged: its weight would tell their number."""

    def kept(count: Any) -> Any:
        return [kept(one) for one in count] if isinstance(count, list) else count if count >= smallest else 0

    return {name: kept(count) for name, count in counts.items()}


def _is_scores(value: Any) -> bool:
    """Unlike histograms, which have the same two keys, scores have rows below them."""
    return isinstance(value, Mapping) and "per_finding" in value.get("disease", ()) and "cancer" in value


def _scores(scores: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    kept = dict(scores)
    if "loss" not in limits.metrics:
        kept |= dict.fromkeys(_LOSSES)
    few = f"Fewer than {limits.smallest_count} images: the hospital keeps it."
    disease, cancer = scores["disease"], scores["cancer"]
    if "disease" not in limits.metrics:
        kept["disease"] = _task(disease, "per_finding", dict.fromkeys(disease["per_finding"], _NOT_ALLOWED), limits)
    else:
        reasons = {
            name: few
            for name, row in disease["per_finding"].items()
            if min(row["support"], row["known"] - row["support"]) < limits.smallest_count
        }
        kept["disease"] = _task(disease, "per_finding", reasons, limits) if reasons else disease
    if "cancer" not in limits.metrics:
        kept["cancer"] = _task(cancer, "per_class", dict.fromkeys(cancer["per_class"], _NOT_ALLOWED), limits)
    else:
        reasons = {name: few for name, row in cancer["per_class"].items() if row["support"] < limits.smallest_count}
        kept["cancer"] = _task(cancer, "per_class", reasons, limits) if reasons else cancer
    if scores.get("intervals"):
        kept["intervals"] = {
            "disease": _intervals(scores["intervals"]["disease"], "per_finding", kept["disease"]),
            "cancer": _intervals(scores["intervals"]["cancer"], "per_class", kept["cancer"]),
        }
    return kept


def _intervals(intervals: Mapping[str, Any], per: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals of what is ``kept`` of the scores. Once a row is missing no mean has one, because it ran over all."""
    missing = {
        name
        for name, row in intervals[per].items()
        if any(row.get(figure) is not None and kept[per][name][figure] is None for figure in _FIGURES)
    }
    if not missing:
        return dict(intervals)
    rows = {name: None if name in missing else row for name, row in intervals[per].items()}
    return {**intervals, **dict.fromkeys(name for name in _MEANS if name in intervals), per: rows}


def _task(scores: Mapping[str, Any], per: str, reasons: Mapping[str, str], limits: Limits) -> dict[str, Any]:
    """The scores of one head with the rows in ``reasons`` taken out.

    The means run over the rows that are left: from a mean over all, the missing row could be worked out.
    """
    rows = {}
    for name, row in scores[per].items():
        if name in reasons:
            row = _without_figures(row, reasons[name])
            row |= {key: _count(row[key], limits.smallest_count) for key in ("support", "known") if key in row}
        rows[name] = row
    left = [row for name, row in rows.items() if name not in reasons]
    why = next(iter(reasons.values()))
    kept = dict(scores) | {per: rows}
    for mean in ("macro", "weighted", "micro"):
        if mean in scores:
            kept[mean] = _mean(scores[mean], left if mean != "micro" else [], mean == "weighted", why)
    if "confusion_matrix" in scores:
        kept["confusion_matrix"] = None
        kept |= {"accuracy": None, "reasons": {**scores["reasons"], "accuracy": why}}
        kept["known"] = _count(scores["known"], limits.smallest_count)
    return kept


def _mean(mean: Mapping[str, Any], rows: list[Mapping[str, Any]], weighted: bool, why: str) -> dict[str, Any]:
    number = "num_findings" if "num_findings" in mean else "num_classes"
    kept: dict[str, Any] = {number: {}, "reasons": {}}
    for figure in (name for name in _FIGURES if name in mean):
        defined = [
            (row[figure], row["support"] if weighted else 1)
            for row in rows
            if row[figure] is not None and (row["support"] or not weighted)
        ]
        total = sum(weight for _, weight in defined)
        kept[figure] = sum(value * weight for value, weight in defined) / total if total else None
        kept[number][figure] = len(defined)
        if not total:
            kept["reasons"][figure] = why
    return kept


def _without_figures(row: Mapping[str, Any], why: str) -> dict[str, Any]:
    figures = [name for name in _FIGURES if name in row]
    return dict(row) | dict.fromkeys(figures) | {"reasons": dict.fromkeys(figures, why)}


def _count(value: Any, smallest: int) -> Any:
    return None if isinstance(value, int) and value < smallest else value


def _passport(data: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    kept = dict(data)
    if limits.smallest_count:
        kept["splits"] = {
            name: {key: _small_counts(value, limits.smallest_count) for key, value in split.items()}
            for name, split in data["splits"].items()
        }
    return kept


def _small_counts(value: Any, smallest: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _small_counts(item, smallest) for key, item in value.items()}
    return _count(value, smallest)
