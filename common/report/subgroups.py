"""Whether the model is as good for some people as for others: one table a task, and what is told about each label."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, count, figure, interval, joined
from fedthorax.common.metrics.resampling import MIN_IMAGES
from fedthorax.common.metrics.scores import TASKS, Attribute, Group, GroupFigure, GroupLabel, Task
from fedthorax.common.page.frame import rendered
from fedthorax.common.record.run import BySite, Run
from fedthorax.common.report.plots import gap_bar
from fedthorax.common.report.subgroups_template import TEMPLATE

TITLES = {"sex": "Sex", "age_years": "Age in years", "view": "View", "scanner": "Scanner", "site": "Hospital"}
MAX_UNFOLDED = 6  # hospitals whose tables stand open, where there is something to compare
FIGURES = (("roc_auc", "ROC-AUC"), ("recall", "Sensitivity"), ("specificity", "Specificity"))

Groups = Mapping[str, Attribute | BySite]  # by attribute, and of all hospitals' own test images as ``site``


def subgroup_section(run: Run) -> Markup:
    """The section of the report; nothing where no attribute is known and no hospital told its scores."""
    tasks = []
    for task, title in TASKS:
        found, hospitals = of_task(run, task), of_hospitals(run, task)
        gaps = list(gaps_of(found))
        described = {
            "title": title,
            "attributes": [_table(name, described) for name, described in found.items()],
            "num_gaps": len(gaps),
            "striking": striking(gaps),
            "hospitals": _at_hospitals(hospitals),
        }
        if found or any(hospitals.values()):
            tasks.append(described)
    if not tasks:
        return Markup("")
    return rendered(TEMPLATE, tasks=tasks, few=MIN_IMAGES)


def of_hospitals(run: Run, task: Task) -> dict[str, Groups | None]:
    """By hospital the groups of its own test images by attribute; None where it keeps them to itself. Hospitals that
    were not tested are left out."""
    return {name: getattr(site.subgroups, task) for name, site in run.sites.items() if site.subgroups}


def _at_hospitals(told: Mapping[str, Groups | None]) -> dict[str, Any]:
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
        "striking": striking(gaps),
    }


def of_task(run: Run, task: Task) -> Groups:
    """By attribute its groups: of the central test images, and of all hospitals' own (``site``)."""
    told = run.test.subgroups if run.test else None
    found: dict[str, Attribute | BySite] = dict(getattr(told, task, None) or {})
    if run.pooled and run.pooled.by_site:
        by_site: BySite = getattr(run.pooled.by_site, task)
        found |= {"site": by_site} if len(by_site.groups) > 1 else {}
    return found


def gaps_of(found: Groups) -> Iterator[tuple[str, str, str, GroupFigure]]:
    """(group, figure's name, label or "mean", figure) of everything that is compared."""
    for attribute, described in found.items():
        for name, group in described.groups.items():
            for label, row in {"mean": group.mean, **(group.labels or {})}.items():
                for key, word in FIGURES:
                    value = getattr(row, key, None)
                    if value and value.gap is not None:
                        yield f"{TITLES[attribute]} {name}", word, label, value


def striking(gaps: Sequence[tuple[str, str, str, GroupFigure]]) -> list[str]:
    """Gaps of means whose interval leaves 0 out, the widest first."""
    found = [
        (abs(value.gap or 0), f"{group}: {word} {figure(value.value)}, others {figure(value.others)}.")
        for group, word, label, value in gaps
        if label == "mean" and _leaves_out_0(value.gap_interval)
    ]
    return [words for _, words in sorted(found, key=lambda one: -one[0])]


def _table(attribute: str, described: Attribute | BySite) -> dict[str, Any]:
    figures = FIGURES[:1] if attribute == "site" else FIGURES
    rows, details = [], []
    for name, group in described.groups.items():
        mean, labels = group.mean, group.labels or {}
        rows.append(
            {
                "name": name,
                "images": count(group.images),
                "cells": [_cells(getattr(mean, key, None)) for key, _ in figures],
                "over": f"{len(mean.labels) if mean else 0} of {len(labels)}",
                "reason": reason_of(group),
            }
        )
        details += [{"group": name, "label": label, **_detail(row)} for label, row in labels.items()]
    return {
        "title": TITLES[attribute],
        "at_hospitals": attribute == "site",
        "unknown": described.unknown if isinstance(described, Attribute) else None,
        "figures": [word for _, word in figures],
        "rows": rows,
        "details": details,
    }


def reason_of(group: Group) -> str | None:
    """Why the group is not compared."""
    return group.reason or (group.mean.reason if group.mean else None)


def _detail(row: GroupLabel) -> dict[str, Any]:
    return {
        "support": UNDEFINED if row.known is None else f"{count(row.support)} of {count(row.known)}",
        "few": row.descriptive,
        "reason": row.reason,
        "cells": _cells(row.roc_auc),
    }


def _cells(value: GroupFigure | None) -> dict[str, Any]:
    gap, low_high = (value.gap, value.gap_interval) if value else (None, None)
    return {
        "value": figure(value.value if value else None),
        "interval": interval(value.interval if value else None),
        "gap": UNDEFINED if gap is None else signed(gap),
        "around": f"{signed(low_high[0])} to {signed(low_high[1])}" if low_high else "",
        "bar": gap_bar(gap, low_high),
        "striking": _leaves_out_0(low_high),
    }


def _leaves_out_0(low_high: Sequence[float] | None) -> bool:
    return low_high is not None and (low_high[0] > 0 or low_high[1] < 0)


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
