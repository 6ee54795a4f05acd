"""Rows of the report's tables, as text; the template only lays them out."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, count, counted, data_size, figure, interval, seconds
from fedthorax.common.issues.issue import CODES
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, shown_in
from fedthorax.common.metrics.scores import (
    TASKS,
    ClassMean,
    FindingMean,
    FindingRow,
    Heads,
    Row,
    Scores,
    Task,
    TestedScores,
)
from fedthorax.common.record.modalities import TASK_OF, WORDS
from fedthorax.common.record.passport import FAULT_WORDS, Found, Modality, Passport, Skipped, UsesTold
from fedthorax.common.record.run import CentralTest, Run
from fedthorax.common.report.cautions import is_few, num_skipped
from fedthorax.common.report.plots import ForestRow, forest, roc_square

SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}
MAX_LISTED_FILES = 50
CENTRAL = "Central (server)"
MEANS = {"macro": "Mean (macro)", "weighted": "By positives (weighted)", "micro": "All together (micro)"}


def score_rows(scores: Scores | None, task: Task) -> dict[str, Any]:
    """One row a finding (``task`` disease) or class (cancer), then the means, with intervals where there are any."""
    metrics = FINDING_METRICS if task == "disease" else CLASS_METRICS
    columns = [name for name in shown_in("table", metrics) if name != "roc_auc"]  # which has columns of its own
    titles, rows, means = [metrics[column].title for column in columns], list[Any](), list[Any]()
    tested = isinstance(scores, TestedScores) and scores.intervals is not None
    if scores is None:
        return {"rows": rows, "means": means, "titles": titles, "intervals": tested}

    def add_mean(name: str, mean: FindingMean | ClassMean, low_high: Sequence[float] | None) -> None:
        first, *others = (_over(mean, column) for column in ("roc_auc", *columns))
        means.append({"name": name, "cells": [first, *([interval(low_high)] if tested else []), *others, ""]})

    head = scores.head(task)
    for name, row in head.rows.items():
        between = ["too few" if is_few(row) else interval(scores.interval(task, "roc_auc", name))] if tested else []
        cells = [figure(row.roc_auc), *between, *(figure(getattr(row, column)) for column in columns)]
        rows.append({"name": name, "cells": [*cells, _of_known(row)], "few": is_few(row)})
    intervals = getattr(getattr(scores, "intervals", None), task, None)
    for kind, name in MEANS.items():
        of_kind = getattr(intervals, kind, None)
        add_mean(name, getattr(head, kind), of_kind and of_kind.of("roc_auc"))
    by_patient = scores.examinations if task == "cancer" and isinstance(scores, TestedScores) else None
    if by_patient and by_patient.cancer:
        name = (
            f"By patient ({by_patient.rule} of the slices, {counted(by_patient.cancer.known or 0, 'patient')}), macro"
        )
        of_patients = by_patient.intervals.cancer if by_patient.intervals else None
        add_mean(name, by_patient.cancer.macro, of_patients.of("roc_auc") if of_patients else None)
    return {"rows": rows, "means": means, "titles": titles, "intervals": tested}


def _over(mean: FindingMean | ClassMean, column: str) -> Markup:
    """A mean, and over how many labels it runs."""
    return Markup('{} <span class="over">/{}</span>').format(
        figure(getattr(mean, column)), count(mean.over.get(column))
    )


def forests(scores: Scores | None) -> list[tuple[str, Markup]]:
    """One drawing a task; none for a task without a figure."""
    if scores is None:
        return []
    drawings = []
    for task, title in TASKS:
        rows = [
            ForestRow(name, row.roc_auc, None if is_few(row) else scores.interval(task, "roc_auc", name))
            for name, row in scores.head(task).rows.items()
        ]
        if any(row.value is not None for row in rows):
            mean = scores.mean(task, "roc_auc"), scores.interval(task, "roc_auc")
            drawings.append((title, forest(title, [*rows, ForestRow("Mean", *mean, mean=True)])))
    return drawings


def agreement(run: Run) -> dict[str, Any] | None:
    """The one model at every hospital, label by label: on its own test images, or where no hospital tells those, on its
    validation images of the round whose scores are shown. None with fewer than two hospitals that tell a figure.

    ``tables`` has one a task. A figure of few images has a star, no shade, and no part in how far apart they are.
    """
    valid = run.scored_round.sites if run.scored_round else {}
    for images, told in (
        ("test images", {name: site.test for name, site in run.sites.items()}),
        ("validation images", {name: valid[name].valid if name in valid else None for name in run.sites}),
    ):
        found = []
        telling: set[str] = set()
        for task, title in TASKS:
            heads = {name: scores.head(task) if scores else None for name, scores in told.items()}
            rows = []
            for label in (*dict.fromkeys(label for head in heads.values() if head for label in head.rows), None):
                values, cells = [], []
                for name, head in heads.items():
                    row = head and (head.macro if label is None else head.rows.get(label))
                    value, few = row.roc_auc if row else None, bool(getattr(row, "descriptive", False))
                    telling |= set() if value is None else {name}
                    values += [] if few or value is None else [value]
                    shade = None if few or value is None else max(0.0, 2 * value - 1)
                    cells.append((figure(value) + "*" * (few and value is not None), shade))
                spread = figure(max(values) - min(values)) if len(values) > 1 else UNDEFINED
                if any(words != UNDEFINED for words, _ in cells):
                    rows.append({"name": label or "Mean", "cells": cells, "spread": spread, "mean": label is None})
            if rows:
                found.append({"title": title, "rows": rows})
        if len(telling) > 1:
            return {"images": images, "tables": found, "heads": ["Label", *told, "Apart by"]}
    return None


def roc_squares(test: CentralTest | None, task: Task) -> list[dict[str, Any]]:
    if test is None:
        return []
    return [
        {
            "name": name,
            "roc_auc": figure(row.roc_auc),
            "support": count(row.support),
            "few": is_few(row),
            "drawing": roc_square(name, getattr(test.curves, task).get(name), row.roc_auc),
        }
        for name, row in test.head(task).rows.items()
    ]


def confusion(scores: Scores | None) -> dict[str, Any] | None:
    """The matrix with every cell's share of its row; None if nothing is known."""
    matrix = scores.cancer.confusion_matrix if scores else None
    if scores is None or not matrix or not sum(map(sum, matrix)) or not scores.cancer.per_class:
        return None
    classes, rows = list(scores.cancer.per_class), []
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
    return {"classes": classes, "rows": rows}


def site_rows(run: Run, absent: Modality | None = None) -> list[dict[str, Any]]:
    """Every hospital beside the central set: validation scores of the round whose scores are shown, and its own test.
    Without the figures of the modality that is ``absent`` everywhere, here and below."""
    scored, rows = run.scored_round, []
    for name, site in run.sites.items():
        train = site.data.splits.get("train") if site.data else None
        images = [count(getattr(train, key, None)) for key in WORDS if key != absent]
        valid = scored.sites[name].valid if scored and name in scored.sites else None
        cells = [*images, *_main_cells(valid, absent), *_main_cells(site.test, absent)]
        rows.append({"name": name, "cells": cells, "style": ""})
    central = [*_main_cells(scored.central if scored else None, absent), *_main_cells(run.test, absent)]
    rows.append({"name": CENTRAL, "cells": [""] * (1 if absent else 2) + central, "style": "central"})
    return rows


def site_gaps(run: Run, absent: Modality | None = None) -> list[str]:
    """Why a hospital's row of ``site_rows`` has dashes: one line a hospital, split and reason."""
    scored, lines = run.scored_round, []
    tasks = [task for modality, task in TASK_OF.items() if modality != absent]
    for name, site in run.sites.items():
        valid = scored.sites[name].valid if scored and name in scored.sites else None
        for part, scores in (("validation", valid), ("own test", site.test)):
            reasons = [scores.head(task).macro.reasons.get("roc_auc") for task in tasks] if scores else []
            lines += [f"{name}, {part}: {reason}" for reason in dict.fromkeys(reasons) if reason]
    return lines


def data_rows(run: Run, absent: Modality | None = None) -> list[dict[str, Any]]:
    """Images and patients of every hospital and of the centre, one row a split."""
    rows = []
    for name, data in passports(run):
        splits = [(SPLIT_NAMES[key], split) for key, split in data.splits.items() if split.xray or split.ct]
        for index, (key, split) in enumerate(splits):
            parts = [part for key in WORDS if key != absent for part in (key, f"{key}_patients")]
            cells = [count(getattr(split, part)) for part in parts]
            rows.append({"name": None if index else name, "span": len(splits), "split": key, "cells": cells})
    return rows


def pairing(run: Run, absent: Modality | None = None) -> dict[str, Any] | None:
    """Caption, headings and rows; None where nobody told its pairs."""
    rows = []
    for name, data in passports(run):
        if pairs := data.pairing:
            uses = [_uses(getattr(pairs, f"{key}_uses")) for key in WORDS if key != absent]
            same = [] if absent else [count(pairs.same_patient_pairs)]
            rows.append({"name": name, "cells": [count(pairs.pairs), *uses, *same]})
    how = "Each X-ray is paired with a CT slice, anew in each pass."
    if absent:
        how = f"Nobody has {WORDS[absent]}: a learned token stands for the other image of each pair."
    uses = [words for key, words in (("xray", "Uses of an X-ray"), ("ct", "Uses of a CT slice")) if key != absent]
    heads = ["Hospital", "Pairs", *uses, *([] if absent else ["Pairs of one patient"])]
    caption = f"{how} Uses: fewest / mean / most times that one image is seen in a pass."
    return {"caption": caption, "heads": heads, "rows": rows} if rows else None


def remarks(run: Run) -> list[dict[str, Any]]:
    """Notes, findings of the check and skipped files of each hospital and of the centre that has any."""
    found = []
    for name, data in passports(run):
        skipped, notes = [_skipped(entry) for entry in data.skipped], list(data.notes)
        if data.notes_kept:
            kept = counted(data.notes_kept, "remark")
            notes.append(f"{kept} on its folders, told at the hospital only: `fedthorax site check` shows them")
        if notes or skipped or data.check:
            found.append(
                {
                    "name": name,
                    "notes": notes,
                    "check": [_issue(entry) for entry in data.check],
                    "skipped": skipped[:MAX_LISTED_FILES],
                    "num_skipped": num_skipped(data),
                    "unlisted": sum(entry["count"] for entry in skipped[MAX_LISTED_FILES:]),
                }
            )
    return found


def _skipped(entry: Skipped) -> dict[str, Any]:
    """A file that is named, or so many of one fault."""
    reason = entry.reason or FAULT_WORDS[entry.fault]
    return {"file": entry.file or counted(entry.count, "file"), "reason": reason, "count": entry.count}


def _issue(entry: Found) -> str:
    """An error stands in a report only if the experiment accepts it: other runs are refused."""
    level = "accepted error" if entry.level == "error" else entry.level
    return f"{level}: {CODES[entry.code].title} ({entry.code}), {count(entry.count)}"


def failure_rows(run: Run) -> list[dict[str, Any]]:
    return [
        {"round": entry.round, "site": failure.site, "stage": failure.stage, "reason": failure.reason}
        for entry in run.rounds
        for failure in entry.failures
    ]


def round_rows(run: Run, absent: Modality | None = None) -> list[dict[str, Any]]:
    """Central validation figures, participation, time and traffic of each round."""
    rows = []
    for entry in run.rounds:
        trained = sum(entry.trained(name) for name in entry.sites)
        best = entry.round == run.best_round
        costs = [("" if entry.seconds is None else entry.seconds, seconds(entry.seconds))]
        costs += [(value, data_size(value)) for value in (entry.bytes_sent, entry.bytes_received)]
        cells = [
            entry.phase.trainable if entry.phase else "before training",
            f"{trained} of {len(run.sites)}" if entry.phase else UNDEFINED,
            *_main_cells(entry.central, absent),
            *costs,
        ]
        name = f"{entry.round} (best)" if best else str(entry.round)
        rows.append({"name": name, "cells": cells, "style": "best" if best else ""})
    return rows


def given_rows(test: CentralTest | None, absent: Modality | None = None) -> list[dict[str, Any]]:
    """Main figures with X-ray alone, CT alone, both; none for a model that needs both, or was given but one."""
    given = test.by_given if test and not absent else None
    names = {"xray": "X-ray alone", "ct": "CT slice alone", "both": "Both"}
    return [{"name": words, "cells": _main_cells(getattr(given, key))} for key, words in names.items() if given]


def pooled(run: Run) -> dict[str, list[Any]]:
    """``rows``: figures of all hospitals' own test images together, with what the bins leave open; none before the end.
    A label of which nothing is known, or everything is left open, has its reason in ``reasons`` instead."""
    rows, reasons = [], []
    for task, _ in TASKS if run.pooled else ():
        for name, found in getattr(run.pooled, task).items():
            values = found.roc_auc, found.pr_auc, found.calibration_error
            if all(value is None or (value.lowest <= 0 and value.highest >= 1) for value in values):
                open_to_all = "the counts that hospitals may tell leave every figure open from 0 to 1"
                reasons.append(f"{name}: {found.reason or open_to_all}")
                continue
            cells = [count(found.present), count(found.absent), count(len(found.hospitals))]
            for value in values:
                within = f"{figure(value.lowest)} to {figure(value.highest)}" if value else ""
                cells += [figure(value and value.value), within]
            rows.append({"name": name, "cells": cells})
    return {"rows": rows, "reasons": reasons}


def passports(run: Run) -> list[tuple[str, Passport]]:
    """Name and data of every hospital, then of the centre, which comes last because a hospital may have its name."""
    return [(name, data) for name, data in (*run.passports.items(), (CENTRAL, run.central.data)) if data]


def sites_caption(absent: Modality | None) -> str:
    findings, classes = "over the findings (X-ray)", "over the classes (CT)"
    over = {"xray": classes, "ct": findings}[absent] if absent else f"{findings} and {classes}"
    return f"Mean ROC-AUC {over}."


_MAIN: tuple[tuple[Modality, str, str], ...] = (
    ("xray", "X-ray<br>ROC-AUC", "roc_auc"),
    ("ct", "CT<br>ROC-AUC", "roc_auc"),
    ("ct", "CT<br>accuracy", "accuracy"),
)


def main_heads(absent: Modality | None) -> list[Markup]:
    """Headings of the columns that rows of hospitals and rounds have."""
    return [Markup("Loss"), *(Markup(head) for modality, head, _ in _MAIN if modality != absent)]


def _main_cells(scores: Heads | None, absent: Modality | None = None) -> list[str]:
    wanted = [(TASK_OF[modality], of) for modality, _, of in _MAIN if modality != absent]
    loss = scores.loss if isinstance(scores, Scores) else None
    return [figure(loss), *(figure(scores.mean(*one) if scores else None) for one in wanted)]


def _of_known(row: Row) -> str:
    """Positives, of how many known labels where these differ from row to row."""
    known = row.known if isinstance(row, FindingRow) else None
    return count(row.support) if known is None else f"{count(row.support)} of {count(known)}"


def _uses(uses: UsesTold) -> str:
    return UNDEFINED if uses.mean is None else f"{count(uses.min)} / {uses.mean:.2f} / {count(uses.max)}"
