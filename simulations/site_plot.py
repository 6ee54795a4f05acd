"""What every site got, counted, and as one picture: how much, which findings, which classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class FindingCount:
    """X-rays by their label for one finding."""

    present: int
    absent: int
    unknown: int


@dataclass(frozen=True)
class SiteCounts:
    """Images and patients of one hospital, or of one split of the central folder."""

    patients: int
    patients_with_both: int
    xray_patients: int
    xrays: int
    ct_patients: int
    ct_slices: int
    findings: Mapping[str, FindingCount]
    cancer_classes: Mapping[str, int]


def count_site(
    xrays: Iterable[tuple[str, Mapping[str, str]]],
    slices: Iterable[tuple[str, str]],
    findings: Sequence[str],
    cancer_classes: Sequence[str],
) -> SiteCounts:
    """Counts from ``(patient, {finding: "1", "0" or ""})`` of every X-ray and ``(patient, class)`` of every slice."""
    xrays, slices = list(xrays), list(slices)
    xray_patients = {patient for patient, _ in xrays}
    ct_patients = {patient for patient, _ in slices}
    count_by_finding = {}
    for finding in findings:
        values = [labels[finding] for _, labels in xrays]
        present, absent = values.count("1"), values.count("0")
        count_by_finding[finding] = FindingCount(present, absent, len(values) - present - absent)
    return SiteCounts(
        patients=len(xray_patients | ct_patients),
        patients_with_both=len(xray_patients & ct_patients),
        xray_patients=len(xray_patients),
        xrays=len(xrays),
        ct_patients=len(ct_patients),
        ct_slices=len(slices),
        findings=count_by_finding,
        cancer_classes={name: sum(cancer == name for _, cancer in slices) for name in cancer_classes},
    )


FILE_NAME = "sites.png"
_MOST_NUMBERS = 300  # cells beyond which the heat map has no numbers in it
_MODALITIES = (("X-rays", "xrays", "#0b63b5"), ("CT slices", "ct_slices", "#b84a00"))


def write_site_plot(path: Path, sites: Mapping[str, SiteCounts]) -> None:
    """A PNG with images a site, the share of positives of each finding (grey: not annotated there), and the shares of
    the CT classes. The same counts give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = list(sites.values())
    findings = list(dict.fromkeys(name for count in counts for name in count.findings))
    classes = list(dict.fromkeys(name for count in counts for name in count.cancer_classes))
    shown = [True, bool(findings), bool(classes)]
    widths = [width for width, here in zip((4.0, 2.0 + 0.55 * len(findings), 4.5), shown, strict=True) if here]
    figure = Figure(figsize=(sum(widths), 1.9 + 0.34 * len(sites)), layout="constrained", dpi=110)
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    panels = iter(axes)
    _amounts(next(panels), counts)
    if findings:
        _prevalence(next(panels), counts, findings)
    if classes:
        _classes(next(panels), counts, classes)
    for number, axis in enumerate(axes):
        axis.set_yticks(range(len(sites)), list(sites) if number == 0 else [""] * len(sites))
        axis.set_ylim(len(sites) - 0.5, -0.5)
        axis.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def _amounts(axis: "Axes", counts: list[SiteCounts]) -> None:
    for offset, (words, name, colour) in zip((-0.19, 0.19), _MODALITIES, strict=True):
        values = [getattr(count, name) for count in counts]
        bars = axis.barh(np.arange(len(counts)) + offset, values, 0.36, color=colour, label=words)
        axis.bar_label(bars, [f"{value:,}" for value in values], padding=2, fontsize=8)
    axis.margins(x=0.18)
    axis.set_title("images", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def _prevalence(axis: "Axes", counts: list[SiteCounts], findings: list[str]) -> None:
    shares = np.full((len(counts), len(findings)), np.nan)
    for row, count in enumerate(counts):
        for column, finding in enumerate(findings):
            found = count.findings[finding]
            if known := found.present + found.absent:
                shares[row, column] = found.present / known
    axis.set_facecolor("#c9ced4")
    highest = float(np.nanmax(shares)) if not np.isnan(shares).all() else 1.0
    axis.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=max(highest, 0.01), aspect="auto")
    if shares.size <= _MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
            if np.isnan(share):
                axis.text(column, row, "-", color="#51606e", **text)
            else:
                axis.text(column, row, f"{share:.0%}", color="white" if share > 0.55 * highest else "#17212b", **text)
    axis.set_xticks(range(len(findings)), findings, rotation=45, ha="right", fontsize=8)
    axis.set_title("share of X-rays with it (grey: not annotated)", fontsize=10)


def _classes(axis: "Axes", counts: list[SiteCounts], classes: list[str]) -> None:
    from matplotlib import colormaps

    left = np.zeros(len(counts))
    totals = np.array([max(sum(count.cancer_classes.values()), 1) for count in counts])
    for index, name in enumerate(classes):
        shares = np.array([count.cancer_classes[name] for count in counts]) / totals
        axis.barh(range(len(counts)), shares, 0.7, left=left, label=name, color=colormaps["tab20"](index % 20))
        left += shares
    axis.set_xlim(0, 1)
    axis.set_title("CT classes, share of slices", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
