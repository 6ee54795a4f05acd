"""One page a hospital that its director understands: what it gave, what it got, and plainly when that was nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedthorax.common.ground.wording import UNDEFINED, at, count, counted, figure, interval, joined
from fedthorax.common.metrics.scores import TASKS, Difference
from fedthorax.common.page.frame import rendered
from fedthorax.common.page.heat_map import area_map
from fedthorax.common.page.style import STYLE
from fedthorax.common.report.joining_template import TEMPLATE
from fedthorax.common.report.personal import difference_words, kept_words

TOGETHER = "together"
_PRINT = "\n@media print { section.hospital { break-before: page; } }\n"
_MODELS = (
    ("alone", "Trained alone, on its own images only"),
    ("common", "The common model of all hospitals"),
    ("joined", "What it uses after joining"),
)


def joining_page(document: Mapping[str, Any]) -> str:
    """One HTML file that opens offline, for the content of ``joining.json``."""
    hospitals = document["hospitals"]
    return rendered(
        TEMPLATE,
        name=document["name"],
        style=STYLE + _PRINT,
        answer=[answer(document, task, words) for task, words in TASKS],
        summary=[_summary_row(site, entry) for site, entry in hospitals.items()],
        hospitals=[_hospital(document, site, entry) for site, entry in hospitals.items()],
        maps=_maps(document),
        leaving_out=_leaving_out(document),
        rounds=document["rounds"],
        software=document["software_version"],
    )


def answer(document: Mapping[str, Any], task: str, words: str) -> str:
    """For how many hospitals joining paid, in one sentence."""
    by_verdict: dict[str, list[str]] = {}
    for site, entry in document["hospitals"].items():
        by_verdict.setdefault(entry["own"]["verdict"][task], []).append(site)
    number = len(document["hospitals"])
    parts = []
    if names := by_verdict.get("helped"):
        parts.append(f"joining helped {joined(names)}")
    if names := by_verdict.get("harmed"):
        parts.append(f"it made things worse for {joined(names)}")
    if names := by_verdict.get("no difference shown"):
        parts.append(f"no difference is shown for {joined(names)}")
    if names := by_verdict.get("cannot be told"):
        parts.append(f"it cannot be told for {joined(names)}, whose own test images are too few")
    told = set(by_verdict) - {"cannot be told"}
    lead = f"for none of the {number} hospitals is a gain shown; " if told and "helped" not in told else ""
    return f"{words}: {lead}{'; '.join(parts)}."


def verdict_words(site: str, entry: Mapping[str, Any], task: str, words: str) -> str:
    """What the hospital's own test images say about one task."""
    mean = entry["own"]["joined_less_alone"][task]["mean"]
    found = entry["own"]["verdict"][task]
    if found == "cannot be told":
        return f"{words}: it cannot be told. {site} has too few test images with and without each label."
    numbers = (
        f"Mean ROC-AUC on its own test images {figure(mean['first'])} after joining, {figure(mean['second'])} alone: "
        f"{_difference(mean)}."
    )
    if found == "helped":
        return f"{words}: joining helped. {numbers}"
    if found == "harmed":
        return f"{words}: joining made it worse. {numbers}"
    patients = counted(mean["patients"], "patient")
    return f"{words}: no difference is shown. {numbers} The interval holds 0: {patients} do not tell more."


def _summary_row(site: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    cells = []
    for task, _ in TASKS:
        scores = entry["own"]["scores"]
        cells += [figure(scores[model][task]["value"]) for model in ("alone", "joined")]
        cells.append(_difference(entry["own"]["joined_less_alone"][task]["mean"]))
        cells.append(entry["own"]["verdict"][task])
    return {"site": site, "cells": cells}


def _hospital(document: Mapping[str, Any], site: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "site": site,
        "plain": plain_words(site, set(entry["own"]["verdict"].values())),
        "verdicts": [verdict_words(site, entry, task, words) for task, words in TASKS],
        "gave": _gave(document, site, entry),
        "kept": kept_words(entry["kept"]),
        "left_out": entry["test_images_left_out"],
        "tables": [_table(entry, place) for place in ("own", "others")],
        "labels": [
            {"title": words, "rows": _label_rows(entry["own"]["joined_less_alone"][task]["rows"])}
            for task, words in TASKS
        ],
    }


def plain_words(site: str, verdicts: set[str]) -> str:
    """The answer for one hospital where it is not simply yes."""
    if verdicts == {"cannot be told"}:
        return f"Whether joining paid for {site} cannot be told: its own test images are too few."
    if "helped" not in verdicts:
        return f"Joining did not pay for {site}, as far as its own test images show."
    return f"Joining helped {site} in one task and made the other worse." if "harmed" in verdicts else ""


def _gave(document: Mapping[str, Any], site: str, entry: Mapping[str, Any]) -> list[str]:
    train = entry["images"]["train"]
    share = entry["share_of_pairs"]
    lines = [
        f"Training on {counted(train['xray'], 'X-ray')} and {counted(train['ct'], 'CT slice')}, which stayed there"
        + (f"; {share:.0%} of all hospitals' training pairs." if share is not None else ".")
    ]
    contribution = entry["contribution"]
    if contribution is None:
        return [*lines, "What the others would have without it was not measured."]
    for task, words in TASKS:
        mean = contribution["with_less_without"][task]["mean"]
        found = contribution["verdict"][task]
        if found == "cannot be told":
            lines.append(f"{words}: what it gives the others cannot be told; their test images are too few.")
            continue
        how = {
            "helped": "its part makes the common model better for the others",
            "harmed": "its part makes the common model worse for the others",
            "no difference shown": "no difference to the others is shown",
        }[found]
        lines.append(
            f"{words}: {how}. Mean ROC-AUC on the others' test images {figure(mean['first'])} with it, "
            f"{figure(mean['second'])} without: {_difference(mean)}."
        )
    return lines


def _table(entry: Mapping[str, Any], place: str) -> dict[str, Any]:
    rows = []
    for model, words in _MODELS:
        cells = []
        for task, _ in TASKS:
            score = entry[place]["scores"][model][task]
            cells += [figure(score["value"]), interval(score["interval"])]
        rows.append({"name": words, "cells": cells})
    for words, key in (
        ("After joining less alone", "joined_less_alone"),
        ("Common less alone", "common_less_alone"),
        ("After joining less common", "joined_less_common"),
    ):
        cells = []
        for task, _ in TASKS:
            difference = at(entry, place, key, task, "mean", "difference")
            value, low_high = at(difference, "value"), at(difference, "interval")
            cells.append(UNDEFINED if value is None else f"{value:+.3f}")
            cells.append(UNDEFINED if low_high is None else f"{low_high[0]:+.3f} to {low_high[1]:+.3f}")
        rows.append({"name": words, "cells": cells})
    over = [
        f"{words}: {counted(len(names), 'label')}"
        for task, words in TASKS
        if (names := entry[place]["scores"]["alone"][task]["names"])
    ]
    title = "On its own test images" if place == "own" else "On the other hospitals' test images"
    return {"title": title, "rows": rows, "over": "; ".join(over)}


def _label_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        low_high = row["interval"]
        cells = [count(row["support"]), count(row["known"]), figure(row["second"]), figure(row["first"])]
        cells.append(UNDEFINED if row["difference"] is None else f"{row['difference']:+.3f}")
        cells.append(UNDEFINED if low_high is None else f"{low_high[0]:+.3f} to {low_high[1]:+.3f}")
        cells.append(figure(row["p_holm"]))
        found.append({"name": row["name"], "few": row["descriptive"], "cells": cells})
    return found


def _difference(mean: Mapping[str, Any] | None) -> str:
    return difference_words(Difference(**mean["difference"]) if mean else None)


def _maps(document: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    sites = list(document["hospitals"])
    return [
        (words, area_map(words, [*sites, TOGETHER], sites, document["cross_site"][task]))
        for task, words in TASKS
        if any(value is not None for row in document["cross_site"][task].values() for value in row.values())
    ]


def _leaving_out(document: Mapping[str, Any]) -> str:
    how = document["leaving_out"]
    if how is None:
        return "Training without each hospital in turn was not asked for."
    if how == "exact":
        return "What a hospital gives is measured by training all others again without it, all rounds."
    return (
        f"What a hospital gives is approximated: there are many hospitals, so the others train again without it, and "
        f"all of them with it, for {how} only. A short training may judge a hospital otherwise than a whole one."
    )
