"""Scores as text, within 80 columns. An undefined figure is a dash; its reason stands below the table."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fedthorax.common.ground.wording import at

if TYPE_CHECKING:
    from fedthorax.common.metrics.scores import Task
    from fedthorax.common.record.run import CentralTest
    from fedthorax.simulations.site_plot import SiteCounts

Row = tuple[str, ...]

UNDEFINED = "-"
_NAME_WIDTH = 26
_MOST_SITES, _SITE_WIDTH = 6, 7  # beside a name, in 80 columns


def number(value: float | None, digits: int = 3) -> str:
    return UNDEFINED if value is None else f"{value:.{digits}f}"


def aligned(rows: Iterable[Row]) -> list[str]:
    """Lines with the first column to the left and the others to the right; names beyond the width are cut."""
    table = [(_cut(row[0]), *row[1:]) for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 3] + "..."


def score_lines(scores: Mapping[str, Any]) -> list[str]:
    """The two tables of one model on one split, with intervals and the reasons for what is undefined. A finding without
    a known label has no row."""
    from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, shown_in  # NumPy, not before --help

    of_findings, of_classes = shown_in("table", FINDING_METRICS), shown_in("table", CLASS_METRICS)
    disease, cancer = scores["disease"], scores["cancer"]
    lines = ["Findings on X-ray" + _loss(scores.get("disease_loss"))]
    rows: list[Row] = [("", *(FINDING_METRICS[name].words for name in of_findings), "positive", "known")]
    known = {finding: figure for finding, figure in disease["per_finding"].items() if figure["known"]}
    for finding, figure in known.items():
        rows.append(
            (
                finding,
                *(number(figure[name]) for name in of_findings),
                str(figure["support"]),
                str(figure["known"]),
            )
        )
    for mean in ("macro", "weighted", "micro"):
        rows.append((f"{mean} mean", *(number(disease[mean][name]) for name in of_findings), "", ""))
    lines += [*aligned(rows), *_interval_line(scores, "disease"), *_reasons(known)]
    if unknown := [finding for finding in disease["per_finding"] if finding not in known]:
        lines += _wrapped(f"No label is known of {', '.join(unknown)}.")
    if not known:
        lines = ["Findings on X-ray: there is no X-ray with a known finding"]
    if not cancer["known"]:
        return [*lines, "", "Classes on CT: there is no CT slice with a known class"]
    lines += ["", "Classes on CT" + _loss(scores.get("cancer_loss"))]
    rows = [("", *(CLASS_METRICS[name].words for name in of_classes), "slices")]
    for name, figure in cancer["per_class"].items():
        rows.append((name, *(number(figure[key]) for key in of_classes), str(figure["support"])))
    rows.append(("macro mean", *(number(cancer["macro"][key]) for key in of_classes), str(cancer["known"])))
    lines += [*aligned(rows), f"accuracy {number(cancer['accuracy'])}"]
    lines += [*_interval_line(scores, "cancer"), *_reasons(cancer["per_class"])]
    return [*lines, "", *confusion_lines(cancer), *_examination_lines(scores)]


def _examination_lines(scores: Mapping[str, Any]) -> list[str]:
    """The classes by patient, or why nothing can be said of patients."""
    by_patient = scores.get("examinations")
    if by_patient is None:
        return []
    cancer, rule = by_patient["cancer"], f"{by_patient['rule']} of a patient's slices"
    if cancer is None:
        return ["", f"Classes by patient: {by_patient['reason']}"]
    rows: list[Row] = [(f"By patient, {cancer['known']}", "", "95 % interval")]
    for words, path in (("accuracy", ("accuracy",)), ("macro ROC-AUC", ("macro", "roc_auc"))):
        low_high = at(by_patient, "intervals", "cancer", *path)
        told = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else UNDEFINED
        rows.append((words, number(at(cancer, *path)), told))
    mixed = f"; {by_patient['mixed']} more have slices of several classes" if by_patient["mixed"] else ""
    return ["", *aligned(rows), f"({rule}{mixed})"]


def duplicate_lines(clean: Mapping[str, Any], whole: Mapping[str, Any], left_out: int) -> list[str]:
    """How much the test images that also stand where the model was trained or selected would flatter it."""
    figures = (
        ("findings, macro ROC-AUC", ("disease", "macro", "roc_auc")),
        ("classes, macro ROC-AUC", ("cancer", "macro", "roc_auc")),
        ("classes, accuracy", ("cancer", "accuracy")),
    )
    rows: list[Row] = [("", "without them", "with them")]
    for words, path in figures:
        values = []
        for value in (clean, whole):
            for key in path:
                value = value[key]
            values.append(number(value))  # type: ignore[arg-type]
        rows.append((words, *values))
    what = "test image also stands" if left_out == 1 else "test images also stand"
    words = f"{left_out:,} {what} where the model was trained or selected: left out above"
    return ["", *textwrap.wrap(words, 80, subsequent_indent="  "), *aligned(rows)]


def confusion_lines(cancer: Mapping[str, Any]) -> list[str]:
    """Rows are the true classes, columns the predicted ones, in the same order, numbered to stay narrow."""
    names = list(cancer["per_class"])
    rows: list[Row] = [("true class / predicted as", *(f"({column + 1})" for column in range(len(names))))]
    for position, (name, counts) in enumerate(zip(names, cancer["confusion_matrix"], strict=True)):
        rows.append((f"({position + 1}) {name}", *(str(count) for count in counts)))
    return aligned(rows)


def count_lines(sites: "Mapping[str, SiteCounts]") -> list[str]:
    """What each site's folders hold."""
    rows: list[Row] = [("", "patients", "X-rays", "CT slices", "patients with both")]
    for name, counts in sites.items():
        figures = (counts.patients, counts.xrays, counts.ct_slices, counts.patients_with_both)
        rows.append((name, *map(str, figures)))
    return aligned(rows)


def label_lines(sites: "Mapping[str, SiteCounts]") -> list[str]:
    """X-rays with each finding and slices of each class, by site; a dash where a finding is not annotated.

    Empty where so many sites would not stand side by side: `--json` and the plot have them.
    """
    if len(sites) > _MOST_SITES:
        return []
    counts = list(sites.values())
    rows: list[Row] = [("X-rays with", *(_short_site(name) for name in sites))]
    for finding in dict.fromkeys(name for count in counts for name in count.findings):
        of_sites = [count.findings[finding] for count in counts]
        rows.append((finding, *(str(one.present) if one.present + one.absent else UNDEFINED for one in of_sites)))
    lines = aligned(rows) if len(rows) > 1 else []
    rows = [("slices of", *(_short_site(name) for name in sites))]
    for cancer in dict.fromkeys(name for count in counts for name in count.cancer_classes):
        rows.append((cancer, *(str(count.cancer_classes[cancer]) for count in counts)))
    return [*lines, *([""] * bool(lines) + aligned(rows) if len(rows) > 1 else [])]


def _short_site(name: str) -> str:
    """``central/test`` is ``test``."""
    name = name.rpartition("/")[2]
    return name if len(name) <= _SITE_WIDTH else name[: _SITE_WIDTH - 2] + ".."


def headline_lines(test: "CentralTest") -> list[str]:
    """The test scores in five lines, each with its 95 % interval where there is one. Of a kind of image of which there
    was none, one line says so."""
    wanted: tuple[tuple[str, Task, str], ...] = (
        ("X-ray findings, macro ROC-AUC", "disease", "roc_auc"),
        ("X-ray findings, macro F1", "disease", "f1"),
        ("CT classes, accuracy", "cancer", "accuracy"),
        ("CT classes, macro ROC-AUC", "cancer", "roc_auc"),
        ("CT classes, macro F1", "cancer", "f1"),
    )
    rows = []
    for title, task, of in wanted:
        low_high = test.interval(task, of)
        between = f"  ({low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        rows.append(f"  {title:<31}{number(test.mean(task, of)):>6}{between}")
    if test.patients.ct == 0:
        return [*rows[:2], "  CT classes: there is no CT slice to test on"]
    if test.patients.xray == 0:
        return ["  X-ray findings: there is no X-ray to test on", *rows[2:]]
    return rows


def _loss(value: float | None) -> str:
    return "" if value is None else f", loss {value:.4f}"


def _interval_line(scores: Mapping[str, Any], task: str) -> list[str]:
    """The macro ROC-AUC with its 95 % interval, where there is one."""
    low_high = at(scores, "intervals", task, "macro", "roc_auc")
    if not low_high:
        return []
    area = number(scores[task]["macro"]["roc_auc"])
    return [f"macro ROC-AUC {area}, 95 % interval {low_high[0]:.3f} to {low_high[1]:.3f}"]


def _reasons(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each reason once, with the names it holds for and the figures that are undefined for it."""
    from fedthorax.common.metrics.figures import words_of

    of_names: dict[tuple[str, str], list[str]] = {}
    for name, figure in figures.items():
        undefined: dict[str, list[str]] = {}
        for metric, reason in (figure.get("reasons") or {}).items():
            undefined.setdefault(reason, []).append(words_of(metric))
        for reason, metrics in undefined.items():
            of_names.setdefault((", ".join(metrics), reason), []).append(name)
    return [
        line
        for (metrics, reason), names in of_names.items()
        for line in _wrapped(f"{', '.join(names)}: {metrics} undefined: {reason}")
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 79, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
