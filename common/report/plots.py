"""The drawings of the report: curves over the rounds, ROC curves, intervals beside a number."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from fedthorax.common.ground.wording import figure
from fedthorax.common.metrics.scores import Scores, Task
from fedthorax.common.page.svg import Band, LineChart, Series, svg, text
from fedthorax.common.record.modalities import TASK_OF
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import Curve, FitTold, Round, Run

MAX_COLOURED_SITES = 6  # as many as can be told apart by colour and dashes


@dataclass(frozen=True)
class ForestRow:
    """``interval`` is None where it was not computed, or rests on too few images."""

    name: str
    value: float | None
    interval: Sequence[float] | None
    mean: bool = False


@dataclass(frozen=True)
class Chart:
    """What a curve shows: a mean of scores, or without ``task`` the loss, of them or of a hospital's training."""

    title: str
    task: Task | None = None
    figure: str = "loss"
    source: Literal["train", "valid"] = "valid"
    reference: float | None = None
    main: bool = False

    def of(self, told: Scores | FitTold | None) -> float | None:
        if told is None or self.task is None or isinstance(told, FitTold):
            return told.loss if told else None
        return told.mean(self.task, self.figure)


CHARTS = (
    Chart("Loss while training, each hospital", source="train"),
    Chart("Loss on validation images"),
    Chart("X-ray findings: mean ROC-AUC (validation)", "disease", "roc_auc", reference=0.5, main=True),
    Chart("X-ray findings: mean F1 (validation)", "disease", "f1"),
    Chart("CT classes: mean ROC-AUC (validation)", "cancer", "roc_auc", reference=0.5, main=True),
    Chart("CT classes: accuracy (validation)", "cancer", "accuracy"),
)


def charts_without(absent: Modality | None) -> list[Chart]:
    """The curves of a run without X-rays or without CT slices."""
    return [chart for chart in CHARTS if not absent or chart.task != TASK_OF[absent]]


def round_charts(run: Run, absent: Modality | None = None) -> list[dict[str, Any]]:
    """Title, drawing and values (for the script) of every curve over the rounds; none if there is no round."""
    if not run.rounds:
        return []
    bands = _phase_bands(run.rounds)
    x_max = max(1, run.last_round)
    drawn: list[dict[str, Any]] = []
    for chart in charts_without(absent):
        series = chart_series(chart, run)
        drawn_chart = LineChart(
            series=series,
            x_max=x_max,
            description=f"{chart.title}. {_in_words(series)}",
            bands=bands,
            mark=run.best_round,
            reference=chart.reference,
            limits=(0, 1) if chart.task else (0, float("inf")),
        )
        values = {
            "frame": drawn_chart.frame,
            "series": [
                {
                    "key": line.style,
                    "name": line.name,
                    "faint": line.style == "faint",
                    "values": [None if y is None else round(y, 4) for _, y in line.points],
                }
                for line in series
            ],
        }
        drawn.append(
            {
                "title": chart.title,
                "drawing": drawn_chart.draw(),
                "values": values,
                "number": len(drawn),
                "main": chart.main,
            }
        )
    return drawn


def legend(sites: Sequence[str]) -> list[dict[str, Any]]:
    """Name and line sample of every kind of line in ``round_charts``."""
    entries = [("Central validation set", "central")]
    if len(sites) <= MAX_COLOURED_SITES:
        entries += [(name, f"site{index}") for index, name in enumerate(sites)]
    else:
        entries += [(f"Each of the {len(sites)} hospitals", "faint"), ("Median of the hospitals", "median")]
    sample = Markup('<path class="line {}" d="M1 6H35"/>')
    return [
        {
            "name": name,
            "key": style,
            "sample": Markup('<svg class="sample" viewBox="0 0 36 12" aria-hidden="true">{}</svg>').format(
                sample.format(style)
            ),
        }
        for name, style in entries
    ]


def chart_series(chart: Chart, run: Run) -> list[Series]:
    """A line for each hospital; of many hospitals faint ones, and their median; the central set last."""
    lines = []
    by_site = {
        name: [
            (entry.round, chart.of(getattr(entry.sites[name], chart.source)) if name in entry.sites else None)
            for entry in run.rounds
        ]
        for name in run.sites
    }
    if len(by_site) <= MAX_COLOURED_SITES:
        lines += [Series(name, points, f"site{index}") for index, (name, points) in enumerate(by_site.items())]
    else:
        lines += [Series(name, points, "faint") for name, points in by_site.items()]
        medians = []
        for index, entry in enumerate(run.rounds):
            values = [value for points in by_site.values() if (value := points[index][1]) is not None]
            medians.append((entry.round, statistics.median(values) if values else None))
        lines.append(Series("Median of the hospitals", medians, "median"))
    if chart.source == "valid":
        central = [(entry.round, chart.of(entry.central)) for entry in run.rounds]
        lines.append(Series("Central validation set", central, "central"))
    return lines


def _in_words(series: Sequence[Series]) -> str:
    sentences = []
    for line in series:
        defined = [(x, y) for x, y in line.points if y is not None]
        if line.style != "faint" and defined:
            (first, start), (last, end) = defined[0], defined[-1]
            sentences.append(f"{line.name}: {figure(start)} in round {first}, {figure(end)} in round {last}.")
    return " ".join(sentences) or "No figure is defined."


def _phase_bands(rounds: Sequence[Round]) -> list[Band]:
    bands: list[Band] = []
    open_index = None
    for entry in rounds:
        if entry.phase is None:
            continue
        if bands and entry.phase.index == open_index:
            bands[-1] = Band(bands[-1].start, entry.round, bands[-1].label)
        else:
            bands.append(Band(entry.round - 1, entry.round, f"{len(bands) + 1}: {entry.phase.trainable}"))
            open_index = entry.phase.index
    return bands


def roc_square(name: str, curve: Curve | None, roc_auc: float | None) -> Markup:
    """A small ROC curve: false-positive rate to the right, true-positive rate upwards, both 0 to 1."""
    frame = Markup('<rect class="frame" x="1" y="1" width="100" height="100"/><path class="grid" d="M1 101L101 1"/>')
    if not curve or not curve.fpr:
        content = Markup('{}<text class="tick" x="51" y="55" text-anchor="middle">undefined</text>').format(frame)
        return svg(102, 102, f"ROC curve of {name}: undefined.", content, "roc")
    points = zip(curve.fpr, curve.tpr, strict=True)
    path = "M" + "L".join(f"{1 + 100 * x:.1f} {101 - 100 * y:.1f}" for x, y in points)
    content = Markup('{}<path class="line accent" d="{}"/>').format(frame, path)
    return svg(102, 102, f"ROC curve of {name}, area {figure(roc_auc)}.", content, "roc", {"curve": name})


def forest(title: str, rows: Sequence[ForestRow]) -> Markup:
    """Each label's figure with its interval, the best first, on one scale up to 1 with a line at 0.5; means below."""
    defined = [row for row in rows if row.value is not None]
    ordered = sorted((row for row in defined if not row.mean), key=lambda row: -(row.value or 0))
    ordered += [row for row in defined if row.mean]
    ends = [end for row in defined for end in (row.value, *(row.interval or ()))]
    start = min(0.4, math.floor(5 * min((end for end in ends if end is not None), default=0.4)) / 5)
    left, right, step, top = 158, 300, 21, 8
    bottom = top + step * len(ordered)

    def x(value: float) -> float:
        return left + (right - left) * (value - start) / (1 - start)

    parts = [Markup('<path class="reference" d="M{:.1f} {}V{}"/>').format(x(0.5), top - 4, bottom)]
    for number in range(round(10 * start), 11, 2):
        parts.append(Markup('<path class="grid" d="M{0:.1f} {1}V{2}"/>').format(x(number / 10), bottom, bottom + 4))
        parts.append(text(x(number / 10), bottom + 17, f"{number / 10:.1f}", "tick", anchor="middle"))
    for place, row in enumerate(ordered):
        y, value = top + step * (place + 0.5), row.value or 0.0
        if row.mean:
            parts.append(Markup('<path class="grid" d="M0 {0}H460"/>').format(y - step / 2))
        if row.interval:
            low_high = x(row.interval[0]), x(row.interval[1])
            parts.append(
                Markup('<path class="whisker" d="M{:.1f} {:.1f}H{:.1f}"/>').format(low_high[0], y, low_high[1])
            )
        name = row.name if len(row.name) <= 24 else f"{row.name[:23]}\N{HORIZONTAL ELLIPSIS}"
        style = "value" if row.mean else "tick"
        parts.append(Markup("<title>{}</title>").format(row.name) if name != row.name else Markup(""))
        parts.append(text(left - 8, y + 4, name, style, anchor="end"))
        hollow = " hollow" if row.interval is None else ""
        parts.append(Markup('<circle class="dot accent{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(hollow, x(value), y))
        words = f"{value:.3f}" + (f" ({row.interval[0]:.3f} to {row.interval[1]:.3f})" if row.interval else "")
        parts.append(text(right + 12, y + 4, words, style))
    told = "; ".join(f"{row.name} {figure(row.value)}" for row in ordered) or "no figure is defined"
    return svg(460, bottom + 22, f"{title}: {told}.", Markup("").join(parts))


def gap_bar(value: float | None, low_high: Sequence[float] | None) -> Markup:
    """Point and interval on a scale from -0.5 to 0.5 with a line at 0; the numbers stand beside it in the table."""
    if value is None:
        return Markup("")
    ends = [50 + 96 * min(0.5, max(-0.5, end)) for end in (value, *(low_high or ()))]
    bar = Markup('<path class="whisker" d="M{:.1f} 7H{:.1f}"/>').format(*ends[1:]) if low_high else ""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 14" aria-hidden="true"><path class="grid" d="M2 13H98"/>'
        '<path class="reference" d="M50 1V13"/>{}<path class="point" d="M{:.1f} 2V12"/></svg>'
    ).format(bar, ends[0])
