"""Whether the model is as good for some people as for others: one table a task, and what is told about each label."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, at, count, figure, interval, joined
from fedthorax.common.metrics.ranking import MIN_IMAGES
from fedthorax.common.page.frame import rendered
from fedthorax.common.report.plots import gap_bar
from fedthorax.common.report.subgroups_template import TEMPLATE

TITLES = {"sex": "Sex", "age_years": "Age in years", "view": "View", "scanner": "Scanner", "site": "Hospital"}
TASKS = (("disease", "X-ray findings"), ("cancer", "CT classes"))
MAX_UNFOLDED = 6  # hospitals whose tables stand open, where there is something to compare
FIGURES = (("roc_auc", "ROC-AUC"), ("recall", "Sensitivity"), ("specificity", "Specificity"))


def subgroup_section(metrics: Mapping[str, Any]) -> Markup:
    """The section of the report; nothing where no attribute is known and no hospital told its scores."""
    tasks = []
    for task, title in TASKS:
        found, hospitals = of_task(metrics, task), of_hospitals(metrics, task)
        gaps = list(gaps_of(found))
        described = {
            "title": title,
            "attributes": [_table(name, described) for name, described in found.items()],
            "num_gaps": len(gaps),
            "striking": _striking(gaps),
            "hospitals": _at_hospitals(hospitals),
        }
        if found or any(hospitals.values()):
            tasks.append(described)
    if not tasks:
        return Markup("")
    return rendered(TEMPLATE, tasks=tasks, few=MIN_IMAGES)


def of_hospitals(metrics: Mapping[str, Any], task: str) -> dict[str, dict[str, Any] | None]:
    """By hospital the groups of its own test images by attribute; None where it keeps them to itself.

    Hospitals that were not tested, or whose run was one of before, are left out.
    """
    return {
        name: site["subgroups"].get(task)
        for name, site in (metrics.get("sites") or {}).items()
        if site.get("subgroups")
    }


def _at_hospitals(told: Mapping[str, dict[str, Any] | None]) -> dict[str, Any]:
    known = {site: found for site, found in told.items() if found}
    gaps = [
        (f"{site}, {group}", word, label, value)
        for site, found in known.items()
        for group, word, label, value in gaps_of(found)
    ]
    attributes = [name for name in TITLES if any(name in found for found in known.values())]
    words = [
        f"{site} ({'no such column' if found == {} else 'keeps them to itself'})"
        for site, found in told.items()
        if not found
    ]
    return {
        "tables": [
            {
                "title": TITLES[attribute],
                "figures": [word for _, word in FIGURES],
                "hospitals": [
                    {"name": site, **_table(attribute, found[attribute])}
                    for site, found in known.items()
                    if attribute in found
                ],
            }
            for attribute in attributes
        ],
        "silent": joined(words, limit=20),
        "open": bool(gaps) and len(told) <= MAX_UNFOLDED,
        "num_gaps": len(gaps),
        "striking": _striking(gaps),
    }


def of_task(metrics: Mapping[str, Any], task: str) -> dict[str, Any]:
    """By attribute its groups: of the central test images, and of all hospitals' own (``site``)."""
    found = dict(at(metrics, "test", "subgroups", task) or {})
    by_site = at(metrics, "pooled", "by_site", task)
    if len(at(by_site, "groups") or {}) > 1:
        found["site"] = by_site
    return found


def gaps_of(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(group, figure's name, label or "mean", figure) of everything that is compared."""
    for attribute, described in found.items():
        for name, group in described["groups"].items():
            rows = {"mean": group.get("mean"), **(group.get("labels") or {})}
            for label, row in rows.items():
                for key, word in FIGURES:
                    value = at(row, key)
                    if value and value["gap"] is not None:
                        yield f"{TITLES[attribute]} {name}", word, label, value


def _striking(gaps: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> list[str]:
    """Gaps of means whose interval leaves 0 out, the widest first."""
    found = [
        (abs(value["gap"]), f"{group}: {word} {figure(value['value'])}, others {figure(value['others'])}.")
        for group, word, label, value in gaps
        if label == "mean" and _leaves_out_0(value["gap_interval"])
    ]
    return [words for _, words in sorted(found, key=lambda one: -one[0])]


def _table(attribute: str, described: Mapping[str, Any]) -> dict[str, Any]:
    figures = FIGURES[:1] if attribute == "site" else FIGURES
    rows, details = [], []
    for name, group in described["groups"].items():
        mean, labels = group.get("mean") or {}, group.get("labels") or {}
        rows.append(
            {
                "name": name,
                "images": count(group.get("images")),
                "cells": [_cells(mean.get(key)) for key, _ in figures],
                "over": f"{len(mean.get('labels') or [])} of {len(labels)}",
                "reason": group.get("reason") or mean.get("reason"),
            }
        )
        details += [{"group": name, "label": label, **_detail(row)} for label, row in labels.items()]
    return {
        "title": TITLES[attribute],
        "at_hospitals": attribute == "site",
        "unknown": described.get("unknown"),
        "figures": [word for _, word in figures],
        "rows": rows,
        "details": details,
    }


def _detail(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "support": UNDEFINED if row.get("known") is None else f"{count(row['support'])} of {count(row['known'])}",
        "few": bool(row.get("descriptive")),
        "reason": row.get("reason"),
        "cells": _cells(row.get("roc_auc")),
    }


def _cells(value: Mapping[str, Any] | None) -> dict[str, Any]:
    value = value or {}
    gap, low_high = value.get("gap"), value.get("gap_interval")
    return {
        "value": figure(value.get("value")),
        "interval": interval(value.get("interval")),
        "gap": UNDEFINED if gap is None else signed(gap),
        "around": f"{signed(low_high[0])} to {signed(low_high[1])}" if low_high else "",
        "bar": gap_bar(gap, low_high),
        "striking": _leaves_out_0(low_high),
    }


def _leaves_out_0(low_high: Sequence[float] | None) -> bool:
    return low_high is not None and (low_high[0] > 0 or low_high[1] < 0)


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
