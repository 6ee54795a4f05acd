"""Rows of the report's tables, as text; the template only lays them out."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, at, count, counted, data_size, figure, interval, seconds
from fedthorax.common.issues.issue import CODES
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, shown_in
from fedthorax.common.record.passport import FAULT_WORDS
from fedthorax.common.report.cautions import is_few, num_skipped
from fedthorax.common.report.plots import ForestRow, forest, roc_square

SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}
IMAGES = {"xray": "X-rays", "ct": "CT slices"}
MAX_LISTED_FILES = 50
CENTRAL = "Central (server)"
MEANS = {"macro": "Mean (macro)", "weighted": "By positives (weighted)", "micro": "All together (micro)"}


def score_rows(scores: Mapping[str, Any], task: str) -> dict[str, Any]:
    """One row a finding (``task`` disease) or class (cancer), then the means, with intervals where there are any."""
    group, metrics = ("per_finding", FINDING_METRICS) if task == "disease" else ("per_class", CLASS_METRICS)
    columns = [name for name in shown_in("table", metrics) if name != "roc_auc"]  # which has columns of its own
    intervals = at(scores, "intervals", task)
    rows = []
    for name, row in (at(scores, task, group) or {}).items():
        few = is_few(row, scores, task)
        between = ["too few" if few else interval(at(intervals, group, name, "roc_auc"))] if intervals else []
        cells = [figure(row.get("roc_auc")), *between, *(figure(row.get(column)) for column in columns)]
        rows.append({"name": name, "cells": [*cells, _of_known(row)], "few": few})
    means = []
    for kind, name in MEANS.items():
        if (mean := at(scores, task, kind)) is None:
            continue
        low_high = at(intervals, kind, "roc_auc")
        over = at(mean, "num_findings" if task == "disease" else "num_classes") or {}
        cells = [_over(mean, over, column) for column in ("roc_auc", *columns)]
        # schema 1 had the macro mean's interval only
        between = [interval(low_high) if low_high or kind == "macro" else ""] if intervals else []
        means.append({"name": name, "cells": [cells[0], *between, *cells[1:], ""]})
    if task == "cancer" and (mean := at(scores, "examinations", "cancer", "macro")):
        low_high = at(scores, "examinations", "intervals", "cancer", "macro", "roc_auc")
        cells = [_over(mean, at(mean, "num_classes") or {}, column) for column in ("roc_auc", *columns)]
        patients = count(at(scores, "examinations", "cancer", "known"))
        name = f"By patient ({at(scores, 'examinations', 'rule')} of the slices, {patients} patients), macro"
        means.append({"name": name, "cells": [cells[0], *([interval(low_high)] if intervals else []), *cells[1:], ""]})
    titles = [metrics[column].title for column in columns]
    return {"rows": rows, "means": means, "titles": titles, "intervals": intervals is not None}


def _over(mean: Mapping[str, Any], over: Mapping[str, Any], column: str) -> Markup:
    """A mean, and over how many labels it runs."""
    return Markup('{} <span class="over">/{}</span>').format(figure(mean.get(column)), count(over.get(column)))


def forests(scores: Mapping[str, Any] | None) -> list[tuple[str, Markup]]:
    """One drawing a task; none for a task without a figure."""
    drawings = []
    for task, group, title in (("disease", "per_finding", "X-ray findings"), ("cancer", "per_class", "CT classes")):
        intervals = at(scores, "intervals", task)
        rows = [
            ForestRow(
                name,
                row.get("roc_auc"),
                None if is_few(row, scores or {}, task) else at(intervals, group, name, "roc_auc"),
            )
            for name, row in (at(scores, task, group) or {}).items()
        ]
        if any(row.value is not None for row in rows):
            mean = at(scores, task, "macro", "roc_auc"), at(intervals, "macro", "roc_auc")
            drawings.append((title, forest(title, [*rows, ForestRow("Mean", *mean, mean=True)])))
    return drawings


def agreement(metrics: Mapping[str, Any], scored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The one model at every hospital, label by label: on its own test images, or where no hospital tells those, on its
    validation images of the ``scored`` round. None with fewer than two hospitals that tell a figure.

    ``tables`` has one a task. A figure of few images has a star, no shade, and no part in how far apart they are.
    """
    sites = metrics.get("sites") or {}
    for images, told in (
        ("test images", {name: at(site, "test") for name, site in sites.items()}),
        ("validation images", {name: at(scored, "sites", name, "valid") for name in sites}),
    ):
        found = []
        telling: set[str] = set()
        for task, group, title in (("disease", "per_finding", "X-ray findings"), ("cancer", "per_class", "CT classes")):
            labels = dict.fromkeys(label for scores in told.values() for label in at(scores, task, group) or {})
            rows = []
            for label in (*labels, None):
                path = (task, "macro") if label is None else (task, group, label)
                of_sites = {name: at(scores, *path) or {} for name, scores in told.items()}
                values = {name: of.get("roc_auc") for name, of in of_sites.items() if not of.get("descriptive")}
                known = [value for value in values.values() if value is not None]
                telling |= {name for name, of in of_sites.items() if of.get("roc_auc") is not None}
                cells = [
                    (
                        figure(of.get("roc_auc")) + "*" * bool(of.get("descriptive") and of.get("roc_auc") is not None),
                        None if (value := values.get(name)) is None else max(0.0, 2 * value - 1),
                    )
                    for name, of in of_sites.items()
                ]
                spread = figure(max(known) - min(known)) if len(known) > 1 else UNDEFINED
                if any(words != UNDEFINED for words, _ in cells):
                    rows.append({"name": label or "Mean", "cells": cells, "spread": spread, "mean": label is None})
            if rows:
                found.append({"title": title, "rows": rows})
        if len(telling) > 1:
            return {"images": images, "tables": found, "heads": ["Label", *told, "Apart by"]}
    return None


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
    heads = len(main_heads(absent))
    rows = []

    def add(name: str, images: list[str], valid: list[str], test: Any, copies: Any, same: str, style: str = "") -> None:
        rows.append({"name": name, "cells": [*images, *valid, *_main_cells(test, absent)], "style": style})
        if copies:
            empty = [""] * (len(images) + heads)
            rows.append({"name": same, "cells": [*empty, *_main_cells(copies, absent)], "style": style})

    for name, site in (metrics.get("sites") or {}).items():
        images = [count(at(site, "data", "splits", "train", key)) for key in IMAGES if key != absent]
        valid = _main_cells(at(scored, "sites", name, "valid"), absent)
        copies = at(site, "test_with_duplicates")
        add(name, images, valid, at(site, "test"), copies, f"{name}, duplicates counted too")
    valid, same = _main_cells(at(scored, "central"), absent), "the same, duplicates counted too"
    none = [""] * (1 if absent else 2)
    add(CENTRAL, none, valid, metrics.get("test"), metrics.get("test_with_duplicates"), same, "central")
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


def pairing(metrics: Mapping[str, Any], absent: str | None = None) -> dict[str, Any] | None:
    """Caption, headings and rows; None where nobody told its pairs."""
    rows = []
    for name, data in passports(metrics):
        if pairs := at(data, "pairing"):
            uses = [_uses(pairs.get(f"{key}_uses")) for key in IMAGES if key != absent]
            same = [] if absent else [count(pairs.get("same_patient_pairs"))]
            rows.append({"name": name, "cells": [count(pairs.get("pairs")), *uses, *same]})
    how = "Each X-ray is paired with a CT slice, anew in each pass."
    if absent:
        how = f"Nobody has {IMAGES[absent]}: a learned token stands for the other image of each pair."
    uses = [words for key, words in (("xray", "Uses of an X-ray"), ("ct", "Uses of a CT slice")) if key != absent]
    heads = ["Hospital", "Pairs", *uses, *([] if absent else ["Pairs of one patient"])]
    caption = f"{how} Uses: fewest / mean / most times that one image is seen in a pass."
    return {"caption": caption, "heads": heads, "rows": rows} if rows else None


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
        best = entry["round"] == metrics.get("best_round")
        costs = [(entry.get("seconds"), seconds(entry.get("seconds")))]
        costs += [(entry.get(key), data_size(entry.get(key))) for key in ("bytes_sent", "bytes_received")]
        cells = [
            at(entry, "phase", "trainable") or "before training",
            f"{trained} of {num_sites}" if entry.get("phase") else UNDEFINED,
            *_main_cells(entry.get("central"), absent),
            *(("" if value is None else value, words) for value, words in costs),
        ]
        name = f"{entry['round']} (best)" if best else str(entry["round"])
        rows.append({"name": name, "cells": cells, "style": "best" if best else ""})
    return rows


def given_rows(scores: Mapping[str, Any] | None, absent: str | None = None) -> list[dict[str, Any]]:
    """Main figures with X-ray alone, CT alone, both; none for a model that needs both, or was given but one."""
    if absent:
        return []
    names = {"xray": "X-ray alone", "ct": "CT slice alone", "both": "Both"}
    given = at(scores or {}, "by_given") or {}
    return [{"name": words, "cells": _main_cells(given[key])} for key, words in names.items() if key in given]


def pooled(metrics: Mapping[str, Any]) -> dict[str, list[Any]]:
    """``rows``: figures of all hospitals' own test images together, with what the bins leave open; none before the end.
    A label of which nothing is known, or everything is left open, has its reason in ``reasons`` instead."""
    rows, reasons = [], []
    for task in ("disease", "cancer"):
        for name, found in (at(metrics, "pooled", task) or {}).items():
            values = [found[figure_name] for figure_name in ("roc_auc", "pr_auc", "calibration_error")]
            if all((at(value, "lowest") or 0) <= 0 and (at(value, "highest") or 1) >= 1 for value in values):
                open_to_all = "the counts that hospitals may tell leave every figure open from 0 to 1"
                reasons.append(f"{name}: {found.get('reason') or open_to_all}")
                continue
            cells = [count(found["present"]), count(found["absent"]), count(len(found["hospitals"]))]
            for value in values:
                within = f"{figure(value['lowest'])} to {figure(value['highest'])}" if value else ""
                cells += [figure(value and value["value"]), within]
            rows.append({"name": name, "cells": cells})
    return {"rows": rows, "reasons": reasons}


def passports(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Name and data of every hospital, then of the centre, which comes last because a hospital may have its name."""
    found = [(name, at(site, "data")) for name, site in (metrics.get("sites") or {}).items()]
    return [*found, (CENTRAL, at(metrics, "central", "data"))]


def sites_caption(absent: str | None) -> str:
    findings, classes = "over the findings (X-ray)", "over the classes (CT)"
    over = {"xray": classes, "ct": findings}.get(absent or "", f"{findings} and {classes}")
    return f"Mean ROC-AUC {over}."


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
