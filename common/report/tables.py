"""Rows of the report's tables, as text; the template only lays them out."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, at, count, counted, data_size, figure, interval, seconds
from fedthorax.common.issues.issue import CODES
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, shown_in
from fedthorax.common.record.passport import FAULT_WORDS
from fedthorax.common.report.cautions import is_few, num_skipped
from fedthorax.common.report.plots import interval_bar, roc_square

SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}
IMAGES = {"xray": "X-rays", "ct": "CT slices"}
MAX_LISTED_FILES = 50
CENTRAL = "Central (server)"


def score_rows(scores: Mapping[str, Any], task: str) -> dict[str, Any]:
    """One row a finding (``task`` disease) or class (cancer), then the means, with intervals where there are any."""
    group, metrics = ("per_finding", FINDING_METRICS) if task == "disease" else ("per_class", CLASS_METRICS)
    columns = [name for name in shown_in("table", metrics) if name != "roc_auc"]  # which has columns of its own
    intervals = at(scores, "intervals", task)
    rows = []
    for name, row in (at(scores, task, group) or {}).items():
        low_high = at(intervals, group, name, "roc_auc")
        few = is_few(row, scores, task)
        rows.append(
            {
                "name": name,
                "roc_auc": figure(row.get("roc_auc")),
                "interval": "too few" if few else interval(low_high),
                "bar": interval_bar(row.get("roc_auc"), None if few else low_high),
                "cells": [figure(row.get(column)) for column in columns],
                "support": _of_known(row),
                "few": few,
            }
        )
    means = []
    names = {"macro": "Mean (macro)", "weighted": "By positives (weighted)", "micro": "All together (micro)"}
    for kind, name in names.items():
        mean = at(scores, task, kind)
        if mean is None:
            continue
        low_high = at(intervals, kind, "roc_auc")
        over = at(mean, "num_findings" if task == "disease" else "num_classes") or {}
        means.append(
            {
                "name": name,
                "roc_auc": figure(mean.get("roc_auc")),
                "interval": interval(low_high) if low_high or kind == "macro" else "",  # schema 1 had the macro mean's
                "bar": interval_bar(mean.get("roc_auc"), low_high),
                "cells": [figure(mean.get(column)) for column in columns],
                "over": [count(over.get(column)) for column in ("roc_auc", *columns)],
            }
        )
    titles = [metrics[column].title for column in columns]
    return {"rows": rows, "means": means, "titles": titles, "intervals": intervals is not None}


def roc_squares(scores: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    group = "per_finding" if task == "disease" else "per_class"
    squares = []
    for name, curve in (at(scores, "curves", task) or {}).items():
        row = at(scores, task, group, name) or {}
        squares.append(
            {
                "name": name,
                "roc_auc": figure(row.get("roc_auc")),
                "support": count(row.get("support")),
                "few": is_few(row, scores, task),
                "drawing": roc_square(name, curve, row.get("roc_auc")),
            }
        )
    return squares


def confusion(scores: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any] | None:
    """The matrix with every cell's share of its row; None if nothing is known."""
    matrix = at(scores, "cancer", "confusion_matrix")
    if not matrix or not sum(map(sum, matrix)):
        return None
    rows = []
    for name, counts in zip(classes, matrix, strict=True):
        total = sum(counts)
        cells = [
            {
                "count": count(number),
                "share": number / total if total else 0.0,
                "percent": f"{number / total:.0%}" if total else "",
            }
            for number in counts
        ]
        rows.append({"name": name, "cells": cells, "total": count(total)})
    return {"classes": list(classes), "rows": rows}


def site_rows(
    metrics: Mapping[str, Any], scored: Mapping[str, Any] | None, absent: str | None = None
) -> list[dict[str, Any]]:
    """Every hospital beside the central set: validation scores of the ``scored`` round, and its own test. Without the
    figures of the modality that is ``absent`` everywhere, here and below."""
    rows = []
    for name, site in (metrics.get("sites") or {}).items():
        row: dict[str, Any] = {
            "name": name,
            "images": [count(at(site, "data", "splits", "train", key)) for key in IMAGES if key != absent],
            "valid": _main_cells(at(scored, "sites", name, "valid"), absent),
            "test": _main_cells(at(site, "test"), absent),
            "central": False,
        }
        rows.append(row)
        if at(site, "test_with_duplicates"):
            flattered = {
                "name": f"{name}, duplicates counted too",
                "images": [""] * len(row["images"]),
                "valid": [""] * len(row["valid"]),
            }
            rows.append(row | flattered | {"test": _main_cells(at(site, "test_with_duplicates"), absent)})
    central: dict[str, Any] = {
        "name": CENTRAL,
        "images": [""] * (1 if absent else 2),
        "valid": _main_cells(at(scored, "central"), absent),
        "central": True,
    }
    rows.append(central | {"test": _main_cells(metrics.get("test"), absent)})
    if metrics.get("test_with_duplicates"):
        flattered = {"name": "the same, duplicates counted too", "valid": [""] * len(central["valid"])}
        rows.append(central | flattered | {"test": _main_cells(metrics["test_with_duplicates"], absent)})
    return rows


def site_gaps(metrics: Mapping[str, Any], scored: Mapping[str, Any] | None, absent: str | None = None) -> list[str]:
    """Why a hospital's row of ``site_rows`` has dashes: one line a hospital, split and reason."""
    lines = []
    for name, site in (metrics.get("sites") or {}).items():
        for part, scores in (("validation", at(scored, "sites", name, "valid")), ("own test", at(site, "test"))):
            tasks = [task for modality, task in (("xray", "disease"), ("ct", "cancer")) if modality != absent]
            reasons = [at(scores, task, "macro", "reasons", "roc_auc") for task in tasks]
            lines += [f"{name}, {part}: {reason}" for reason in dict.fromkeys(reasons) if reason]
    return lines


def data_rows(metrics: Mapping[str, Any], absent: str | None = None) -> list[dict[str, Any]]:
    """Images and patients of every hospital and of the centre, one row a split."""
    rows = []
    for name, data in passports(metrics):
        splits = [(SPLIT_NAMES.get(key, key), split) for key, split in (at(data, "splits") or {}).items()]
        splits = [(key, split) for key, split in splits if split and (split.get("xray") or split.get("ct"))]
        for index, (key, split) in enumerate(splits):
            rows.append(
                {
                    "name": name if index == 0 else None,
                    "span": len(splits),
                    "split": key,
                    "cells": [
                        count(split.get(part)) for key in IMAGES if key != absent for part in (key, f"{key}_patients")
                    ],
                }
            )
    return rows


def pairing_rows(metrics: Mapping[str, Any], absent: str | None = None) -> list[dict[str, Any]]:
    rows = []
    for name, data in passports(metrics):
        pairing = at(data, "pairing")
        if pairing:
            uses = [_uses(pairing.get(f"{key}_uses")) for key in IMAGES if key != absent]
            same = [] if absent else [count(pairing.get("same_patient_pairs"))]
            rows.append({"name": name, "cells": [count(pairing.get("pairs")), *uses, *same]})
    return rows


def remarks(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Notes, findings of the check and skipped files of each hospital and of the centre that has any."""
    found = []
    for name, data in passports(metrics):
        skipped = [_skipped(entry) for entry in at(data, "skipped") or []]
        notes = [*(at(data, "notes") or []), *_kept_notes(at(data, "notes_kept") or 0)]
        issues = at(data, "check") or []
        if notes or skipped or issues:
            found.append(
                {
                    "name": name,
                    "notes": notes,
                    "check": [_issue(entry) for entry in issues],
                    "skipped": skipped[:MAX_LISTED_FILES],
                    "num_skipped": num_skipped(data),
                    "unlisted": sum(entry["count"] for entry in skipped[MAX_LISTED_FILES:]),
                }
            )
    return found


def _skipped(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A file that is named, or so many of one fault."""
    number = entry.get("count") or 1
    reason = entry.get("reason") or FAULT_WORDS[entry.get("fault") or "other"]
    return {"file": entry.get("file") or counted(number, "file"), "reason": reason, "count": number}


def _kept_notes(number: int) -> list[str]:
    """What is said of the remarks on its folders that a hospital keeps."""
    words = f"{counted(number, 'remark')} on its folders, told at the hospital only: `fedthorax site check` shows them"
    return [words] if number else []


def _issue(entry: Mapping[str, Any]) -> str:
    """An error stands in a report only if the experiment accepts it: other runs are refused."""
    level = "accepted error" if entry.get("level") == "error" else str(entry.get("level"))
    return f"{level}: {CODES[str(entry['code'])].title} ({entry['code']}), {count(entry.get('count'))}"


def failure_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"round": entry["round"], **{key: failure.get(key) for key in ("site", "stage", "reason")}}
        for entry in metrics.get("rounds") or []
        for failure in entry.get("failures") or []
    ]


def round_rows(metrics: Mapping[str, Any], absent: str | None = None) -> list[dict[str, Any]]:
    """Central validation figures, participation, time and traffic of each round."""
    num_sites = len(metrics.get("sites") or {})
    rows = []
    for entry in metrics.get("rounds") or []:
        trained = sum(at(site, "train") is not None for site in (entry.get("sites") or {}).values())
        rows.append(
            {
                "round": entry["round"],
                "best": entry["round"] == metrics.get("best_round"),
                "trainable": at(entry, "phase", "trainable") or "before training",
                "scores": _main_cells(entry.get("central"), absent),
                "trained": f"{trained} of {num_sites}" if entry.get("phase") else UNDEFINED,
                "costs": [
                    (entry.get("seconds"), seconds(entry.get("seconds"))),
                    (entry.get("bytes_sent"), data_size(entry.get("bytes_sent"))),
                    (entry.get("bytes_received"), data_size(entry.get("bytes_received"))),
                ],
            }
        )
    return rows


def given_rows(scores: Mapping[str, Any] | None, absent: str | None = None) -> list[dict[str, Any]]:
    """Main figures with X-ray alone, CT alone, both; none for a model that needs both, or was given but one."""
    if absent:
        return []
    names = {"xray": "X-ray alone", "ct": "CT slice alone", "both": "Both"}
    given = at(scores or {}, "by_given") or {}
    return [{"name": words, "cells": _main_cells(given[key])} for key, words in names.items() if key in given]


def pooled_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figures of all hospitals' own test images together, with what the bins leave open; none before the end."""
    rows = []
    for task in ("disease", "cancer"):
        for name, found in (at(metrics, "pooled", task) or {}).items():
            cells = [count(found["present"]), count(found["absent"]), count(len(found["hospitals"]))]
            for figure_name in ("roc_auc", "pr_auc", "calibration_error"):
                value = found[figure_name]
                within = f"{figure(value['lowest'])} to {figure(value['highest'])}" if value else ""
                cells += [figure(value and value["value"]), within]
            rows.append({"name": name, "cells": cells})
    return rows


def passports(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Name and data of every hospital, then of the centre, which comes last because a hospital may have its name."""
    found = [(name, at(site, "data")) for name, site in (metrics.get("sites") or {}).items()]
    return [*found, (CENTRAL, at(metrics, "central", "data"))]


_MAIN = (
    (None, "Loss", ("loss",)),
    ("xray", "X-ray<br>ROC-AUC", ("disease", "macro", "roc_auc")),
    ("ct", "CT<br>ROC-AUC", ("cancer", "macro", "roc_auc")),
    ("ct", "CT<br>accuracy", ("cancer", "accuracy")),
)


def main_heads(absent: str | None) -> list[Markup]:
    """Headings of the columns that rows of hospitals and rounds have."""
    return [Markup(head) for modality, head, _ in _MAIN if modality is None or modality != absent]


def _main_cells(scores: Mapping[str, Any] | None, absent: str | None = None) -> list[str]:
    return [figure(at(scores, *path)) for modality, _, path in _MAIN if modality is None or modality != absent]


def _of_known(row: Mapping[str, Any]) -> str:
    """Positives, of how many known labels where these differ from row to row."""
    known = row.get("known")
    return count(row.get("support")) if known is None else f"{count(row.get('support'))} of {count(known)}"


def _uses(uses: Mapping[str, float] | None) -> str:
    if not uses or uses.get("mean") is None:
        return UNDEFINED
    return f"{count(uses.get('min'))} / {uses['mean']:.2f} / {count(uses.get('max'))}"
