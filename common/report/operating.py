"""Thresholds and calibration of the selected model: tables and reliability diagrams."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import bracketed, count, counted, figure
from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.metrics.scores import TASKS, Task
from fedthorax.common.page.svg import svg
from fedthorax.common.record.run import Calibration, CalibrationBin, CalibrationOfHeads, CentralTest, Run

METHODS = {
    "youden": "Youden",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "prevalence": "as many as are",
    "fixed": "fixed",
}


def operating_section(run: Run) -> dict[str, Any] | None:
    """Everything that the template lays out; None where no thresholds were chosen."""
    points, test = run.operating_points, run.test
    if not points:
        return None
    heads = ["Sensitivity", "Specificity", *(["Sensitivity at specificity 0.9", "PR-AUC"] if test else [])]
    return {
        "heads": heads,
        "site": points.site,
        "split": {"valid": "validation"}.get(points.split, points.split),
        "rows": [_row(name, label, test, task) for task, _ in TASKS for name, label in getattr(points, task).items()],
        "temperature": figure(points.cancer_temperature) if points.cancer else None,
        "reasons": _reasons(points),
        "calibration": calibration_rows(test),
        "diagrams": diagrams(test),
        "own": own_rows(run),
        "own_thresholds": own_thresholds(run),
    }


def _row(name: str, label: LabelOperation, test: CentralTest | None, task: Task) -> dict[str, Any]:
    """Without a test, what the threshold gives on the images that chose it."""
    row = test.head(task).rows.get(name) if test else None
    few, cells = row is not None and row.descriptive, [figure(label.sensitivity), figure(label.specificity)]
    if test is not None:
        cells = []
        for of in ("recall", "specificity", "sensitivity_at_specificity"):
            cells.append(figure(getattr(row, of, None)) + bracketed(None if few else test.interval(task, of, name)))
        cells.append(figure(row.pr_auc if row else None))  # without its interval, which would not fit the page
    chosen_from = f"{count(label.positives)}, {count(label.negatives)}{_whose(label)}"
    return {"name": name, "cells": [figure(label.threshold), METHODS[label.method], chosen_from, *cells], "few": few}


def _whose(label: LabelOperation) -> str:
    """How many hospitals' images stand beside the centre's."""
    return f" (centre and {counted(len(label.hospitals), 'hospital')})" if label.hospitals else ""


def own_rows(run: Run) -> list[dict[str, Any]]:
    """Means over the findings of each hospital that chose thresholds of its own: at the common ones, and at these."""
    rows = []
    for name, site in run.sites.items():
        if not site.operating_points:
            continue
        cells = []
        for test in (site.test, site.test_at_own_thresholds):
            for of in ("recall", "specificity", "f1"):
                low_high = test.interval("disease", of) if test and of != "f1" else None
                cells.append(figure(test.mean("disease", of) if test else None) + bracketed(low_high))
        rows.append({"name": name, "cells": cells})
    return rows


def own_thresholds(run: Run) -> dict[str, Any] | None:
    """The threshold of every label, the common one and each hospital's own; None where no hospital chose any."""
    own = {name: site.operating_points for name, site in run.sites.items() if site.operating_points}
    if not own or run.operating_points is None:
        return None
    points = [run.operating_points, *own.values()]
    rows = []
    for task, _ in TASKS:
        for name in getattr(run.operating_points, task):
            labels = [getattr(of_one, task).get(name) for of_one in points]
            rows.append({"name": name, "cells": [figure(label and label.threshold) for label in labels]})
    return {"heads": ["Common", *own], "rows": rows}


def calibration_rows(test: CentralTest | None) -> list[dict[str, Any]]:
    """Calibration error and Brier score before and after, one row a finding and one for the CT classes together."""
    if test is None or test.calibration is None:
        return []
    before = dict(_calibrations(test, test.calibration.before, "CT classes, the most probable one"))
    rows = []
    for name, after in _calibrations(test, test.calibration.after, "CT classes, the most probable one"):
        few = _descriptive(test, name)
        cells = [
            figure(before[name].ece),
            figure(after.ece) + bracketed(None if few else after.ece_interval),
            figure(before[name].brier),
            figure(after.brier) + bracketed(None if few else after.brier_interval),
            count(after.known),
        ]
        rows.append({"name": name, "cells": cells, "few": few})
    return rows


def diagrams(test: CentralTest | None) -> list[dict[str, Any]]:
    """A small reliability diagram for each finding, and one for the CT classes."""
    if test is None or test.calibration is None:
        return []
    return [
        {"name": name, "drawing": reliability_square(name, found.bins), "few": _descriptive(test, name), "support": ""}
        for name, found in _calibrations(test, test.calibration.after, "CT classes")
    ]


def _calibrations(test: CentralTest, told: CalibrationOfHeads, classes: str) -> list[tuple[str, Calibration]]:
    """Of the findings, and under the name ``classes`` of all CT classes, where there are any."""
    findings = [(name, told.disease[name]) for name in test.disease.rows if name in told.disease]
    return [*findings, *([(classes, told.cancer)] if test.cancer.rows else [])]


def _descriptive(test: CentralTest, finding: str) -> bool:
    row = test.disease.rows.get(finding)
    return row is not None and row.descriptive


def reliability_square(name: str, bins: Sequence[CalibrationBin]) -> Markup:
    """Mean probability to the right, share of positives upwards, both 0 to 1; larger dots stand for more images."""
    frame = Markup('<rect class="frame" x="1" y="1" width="100" height="100"/><path class="grid" d="M1 101L101 1"/>')
    most = max((entry.count for entry in bins), default=1)
    places = [
        (1 + 100 * entry.mean_probability, 101 - 100 * entry.share_positive, 1.5 + 3 * entry.count / most)
        for entry in bins
    ]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places) if places else ""
    dots = Markup("").join(
        Markup('<circle class="dot accent" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(x, y, size)
        for x, y, size in places
    )
    words = " ".join(
        f"Probability {entry.mean_probability:.2f}: {entry.share_positive:.2f} of {entry.count}." for entry in bins
    )
    content = Markup('{}<path class="line accent" d="{}"/>{}').format(frame, path, dots)
    return svg(102, 102, f"Reliability of {name}. {words or 'No label is known.'}", content, "roc")


def _reasons(points: OperatingPoints) -> list[str]:
    """Each reason once, with the labels it holds for."""
    by_reason: dict[str, list[str]] = {}
    for task, _ in TASKS:
        for name, label in getattr(points, task).items():
            for reason in label.reasons:
                by_reason.setdefault(reason, []).append(name)
    told = [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    return [*told, *(f"CT classes: {reason}" for reason in points.reasons if points.cancer)]
