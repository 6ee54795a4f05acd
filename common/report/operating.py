"""Thresholds and calibration of the selected model: tables and reliability diagrams."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import at, count, counted, figure, interval
from fedthorax.common.page.svg import svg

METHODS = {
    "youden": "Youden",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "prevalence": "as many as are",
    "fixed": "fixed",
}
_TASKS = (("disease", "per_finding"), ("cancer", "per_class"))


def operating_section(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Everything that the template lays out; None where no thresholds were chosen, as in runs before schema 2."""
    points, test = metrics.get("operating_points"), metrics.get("test")
    if not points:
        return None
    heads = ["Sensitivity", "Specificity", *(["Sensitivity at specificity 0.9", "PR-AUC"] if test else [])]
    return {
        "heads": heads,
        "site": points["site"],
        "split": {"valid": "validation"}.get(points["split"], points["split"]),
        "rows": [
            _row(name, label, test, task, group) for task, group in _TASKS for name, label in points[task].items()
        ],
        "temperature": figure(points.get("cancer_temperature")) if points["cancer"] else None,
        "reasons": _reasons(points),
        "calibration": calibration_rows(test or {}),
        "diagrams": diagrams(test or {}),
        "own": own_rows(metrics),
        "own_thresholds": own_thresholds(metrics),
    }


def _row(name: str, label: Mapping[str, Any], test: Mapping[str, Any] | None, task: str, group: str) -> dict[str, Any]:
    """Without a test, what the threshold gives on the images that chose it."""
    scores = at(test, task, group, name) or {}
    few = bool(scores.get("descriptive"))
    intervals = {} if few else at(test, "intervals", task, group, name) or {}
    cells = [
        f"{figure(scores.get(key))}{_range(intervals.get(key))}"
        for key in ("recall", "specificity", "sensitivity_at_specificity")
    ]
    cells.append(figure(scores.get("pr_auc")))  # without its interval, which would not fit the page
    if test is None:
        cells = [figure(label.get("sensitivity")), figure(label.get("specificity"))]
    method = METHODS.get(label["method"], label["method"])
    chosen_from = f"{count(label['positives'])}, {count(label['negatives'])}{_whose(label)}"
    return {"name": name, "cells": [figure(label["threshold"]), method, chosen_from, *cells], "few": few}


def _whose(label: Mapping[str, Any]) -> str:
    """How many hospitals' images stand beside the centre's."""
    number = len(label.get("hospitals") or ())
    return f" (centre and {counted(number, 'hospital')})" if number else ""


def own_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Means over the findings of each hospital that chose thresholds of its own: at the common ones, and at these."""
    rows = []
    for name, site in (metrics.get("sites") or {}).items():
        if not at(site, "operating_points"):
            continue
        cells = []
        for test in (site.get("test"), site.get("test_at_own_thresholds")):
            for key in ("recall", "specificity", "f1"):
                value, low_high = (at(test, *path, "disease", "macro", key) for path in ((), ("intervals",)))
                cells.append(f"{figure(value)}{_range(low_high) if key != 'f1' else ''}")
        rows.append({"name": name, "cells": cells})
    return rows


def own_thresholds(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The threshold of every label, the common one and each hospital's own; None where no hospital chose any."""
    own = {
        name: site["operating_points"]
        for name, site in (metrics.get("sites") or {}).items()
        if site.get("operating_points")
    }
    if not own:
        return None
    points = [metrics["operating_points"], *own.values()]
    rows = [
        {"name": label, "cells": [figure(at(of_one, task, label, "threshold")) for of_one in points]}
        for task, _ in _TASKS
        for label in metrics["operating_points"][task]
    ]
    return {"heads": ["Common", *own], "rows": rows}


def calibration_rows(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Calibration error and Brier score before and after, one row a finding and one for the CT classes together."""
    found = test.get("calibration")
    if not found:
        return []
    names: list[tuple[str, tuple[str, ...]]] = [(name, ("disease", name)) for name in found["after"]["disease"]]
    if found["after"]["cancer"]:
        names.append(("CT classes, the most probable one", ("cancer",)))
    rows = []
    for name, path in names:
        before, after = at(found, "before", *path) or {}, at(found, "after", *path) or {}
        few = bool(at(test, "disease", "per_finding", name, "descriptive"))
        if few:
            after = {**after, "ece_interval": None, "brier_interval": None}
        rows.append(
            {
                "name": name,
                "cells": [
                    figure(before.get("ece")),
                    f"{figure(after.get('ece'))}{_range(after.get('ece_interval'))}",
                    figure(before.get("brier")),
                    f"{figure(after.get('brier'))}{_range(after.get('brier_interval'))}",
                    count(after.get("known")),
                ],
                "few": few,
            }
        )
    return rows


def diagrams(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A small reliability diagram for each finding, and one for the CT classes."""
    after = at(test, "calibration", "after")
    if not after:
        return []
    drawn = [
        (name, row["bins"], bool(at(test, "disease", "per_finding", name, "descriptive")))
        for name, row in after["disease"].items()
    ]
    if after["cancer"]:
        drawn.append(("CT classes", after["cancer"]["bins"], False))
    return [
        {"name": name, "drawing": reliability_square(name, bins), "few": few, "support": ""}
        for name, bins, few in drawn
    ]


def reliability_square(name: str, bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Mean probability to the right, share of positives upwards, both 0 to 1; larger dots stand for more images."""
    frame = Markup('<rect class="frame" x="1" y="1" width="100" height="100"/><path class="grid" d="M1 101L101 1"/>')
    most = max((entry["count"] for entry in bins), default=1)
    places = [
        (1 + 100 * entry["mean_probability"], 101 - 100 * entry["share_positive"], 1.5 + 3 * entry["count"] / most)
        for entry in bins
    ]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places) if places else ""
    dots = Markup("").join(
        Markup('<circle class="dot accent" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(x, y, size)
        for x, y, size in places
    )
    words = " ".join(
        f"Probability {entry['mean_probability']:.2f}: {entry['share_positive']:.2f} of {entry['count']}."
        for entry in bins
    )
    content = Markup('{}<path class="line accent" d="{}"/>{}').format(frame, path, dots)
    return svg(102, 102, f"Reliability of {name}. {words or 'No label is known.'}", content, "roc")


def _reasons(points: Mapping[str, Any]) -> list[str]:
    """Each reason once, with the labels it holds for."""
    by_reason: dict[str, list[str]] = {}
    for task, _ in _TASKS:
        for name, label in points[task].items():
            for reason in label["reasons"]:
                by_reason.setdefault(reason, []).append(name)
    told = [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    of_classes = points.get("reasons") or () if points["cancer"] else ()
    return [*told, *(f"CT classes: {reason}" for reason in of_classes)]


def _range(low_high: Sequence[float] | None) -> str:
    return f" ({interval(low_high)})" if low_high else ""
