"""The report's plots as files, for slides and papers: ``plots/*.svg`` and ``*.png`` in the run folder."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedthorax.common.ground.atomic_write import write_bytes
from fedthorax.common.ground.wording import at
from fedthorax.common.page.modalities import lacking, without
from fedthorax.common.report.plots import chart_series, charts_without

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
TASKS = (("disease", "per_finding", "findings", "X-ray findings"), ("cancer", "per_class", "classes", "CT classes"))
_SETTINGS: Any = {
    "svg.hashsalt": "fedthorax",  # equal metrics give equal files
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
_COLOURS = ("#0b63b5", "#b84a00", "#00775a", "#8a3a8f", "#7a6200", "#b02a5b")
_STYLES: dict[str, dict[str, Any]] = {
    "central": {"color": "black", "linewidth": 2.2},
    "faint": {"color": "grey", "linewidth": 0.7, "alpha": 0.5},
    "median": {"color": _COLOURS[0], "linewidth": 2, "linestyle": "--"},
    **{f"site{number}": {"color": colour, "linewidth": 1.3} for number, colour in enumerate(_COLOURS)},
}


def write_plots(folder: Path, metrics: Mapping[str, Any]) -> list[Path]:
    """Every plot that the metrics have figures for; the files written. ``folder`` is made."""
    drawn: dict[str, Figure] = {}
    absent = lacking(metrics)
    metrics = without(metrics, absent)
    with _matplotlib():
        if metrics.get("rounds"):
            drawn["rounds"] = rounds_figure(metrics, absent)
        test = metrics.get("test") or {}
        for task, group, name, title in TASKS:
            rows = at(test, task, group) or {}
            if any(row.get("roc_auc") is not None for row in rows.values()):
                drawn[f"scores-{name}"] = scores_figure(rows, at(test, "intervals", task, group) or {}, title)
            if any(at(test, "curves", task, label) for label in rows):
                drawn[f"roc-{name}"] = roc_figure(at(test, "curves", task), rows)
        if at(test, "calibration", "after"):
            drawn["reliability"] = reliability_figure(test["calibration"])
        matrix = at(test, "cancer", "confusion_matrix")
        if matrix and sum(map(sum, matrix)):
            drawn["confusion"] = confusion_figure(matrix, list(test["cancer"]["per_class"]))
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, figure in drawn.items():
            for kind, settings in (("svg", {"metadata": {"Date": None}}), ("png", {"metadata": {"Software": None}})):
                stream = io.BytesIO()
                figure.savefig(stream, format=kind, dpi=DPI, bbox_inches="tight", **settings)  # type: ignore[arg-type]
                written.append(folder / f"{name}.{kind}")
                write_bytes(written[-1], [stream.getvalue()])
    return written


def rounds_figure(metrics: Mapping[str, Any], absent: str | None = None) -> "Figure":
    """The report's curves over the rounds."""
    from matplotlib.ticker import MaxNLocator

    charts = charts_without(absent)
    rows = -(-len(charts) // 2)
    figure = _figure(10, 3 * rows)
    sites = list(metrics.get("sites") or {})
    panels: Sequence[Axes] = figure.subplots(rows, 2).ravel().tolist()
    for axes, chart in zip(panels, charts, strict=True):
        for line in chart_series(chart, metrics["rounds"], sites):
            values = [float("nan") if y is None else y for _, y in line.points]
            label = None if line.style == "faint" else line.name
            axes.plot([x for x, _ in line.points], values, label=label, **_STYLES[line.style])
        if metrics.get("best_round") is not None:
            axes.axvline(metrics["best_round"], color="#0b7a55", linestyle="--", linewidth=1)
        axes.set(title=chart.title, xlabel="round")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = panels[1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def scores_figure(rows: Mapping[str, Any], intervals: Mapping[str, Any], title: str) -> "Figure":
    """ROC-AUC of each label with its interval; grey: fewer than ten positives or negatives."""
    shown = {name: row for name, row in rows.items() if row.get("roc_auc") is not None}
    figure = _figure(6, 1 + 0.3 * len(shown))
    axes = figure.subplots()
    for place, (name, row) in enumerate(reversed(shown.items())):
        few = bool(row.get("descriptive"))
        low_high = None if few else at(intervals, name, "roc_auc")
        if low_high:
            axes.plot(low_high, [place, place], color=_COLOURS[0], linewidth=4, alpha=0.35, solid_capstyle="butt")
        axes.plot(row["roc_auc"], place, "o", color="grey" if few else _COLOURS[0], fillstyle="none" if few else "full")
    names = [f"{name} ({row.get('support')})" for name, row in reversed(shown.items())]
    axes.set_yticks(range(len(shown)), names)
    axes.axvline(0.5, color="grey", linestyle=":")
    axes.set(xlim=(0, 1.02), xlabel="ROC-AUC, 95 % interval; hollow: descriptive only", title=f"{title} (positives)")
    return figure


def roc_figure(curves: Mapping[str, Any], rows: Mapping[str, Any]) -> "Figure":
    figure = _figure(10, 2.6 * -(-len(curves) // 4))
    for axes, (name, curve) in zip(_squares(figure, len(curves)), curves.items(), strict=False):
        if curve:
            axes.plot(curve["fpr"], curve["tpr"], color=_COLOURS[0])
        area = at(rows, name, "roc_auc")
        axes.set_title(f"{name}: {area:.3f}" if area is not None else f"{name}: undefined", fontsize=8)
    figure.supxlabel("1 - specificity")
    figure.supylabel("sensitivity")
    return figure


def reliability_figure(calibration: Mapping[str, Any]) -> "Figure":
    """Grey: before calibration; blue: after."""
    after, before = (
        {**calibration[when]["disease"], **({"CT classes": of_ct} if (of_ct := calibration[when]["cancer"]) else {})}
        for when in ("after", "before")
    )
    figure = _figure(10, 2.6 * -(-len(after) // 4))
    for axes, name in zip(_squares(figure, len(after)), after, strict=False):
        for found, colour in ((before[name], "grey"), (after[name], _COLOURS[0])):
            bins = found["bins"]
            x, y = ([one[key] for one in bins] for key in ("mean_probability", "share_positive"))
            axes.plot(x, y, "o-", color=colour, markersize=3, linewidth=1)
        axes.set_title(name, fontsize=8)
    figure.supxlabel("mean probability in a bin (grey: before calibration)")
    figure.supylabel("share of positives")
    return figure


def confusion_figure(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> "Figure":
    figure = _figure(5.5, 4.5)
    axes = figure.subplots()
    totals = [max(1, sum(row)) for row in matrix]
    axes.imshow([[n / total for n in row] for row, total in zip(matrix, totals, strict=True)], cmap="Blues", vmax=1)
    for row, (counts, total) in enumerate(zip(matrix, totals, strict=True)):
        for column, number in enumerate(counts):
            dark = number / total > 0.6
            axes.text(column, row, str(number), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.grid(False)
    axes.set(xlabel="predicted", ylabel="true", title="CT slices")
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # without pyplot: no window, no state

    return Figure(figsize=(width, height), layout="constrained")


def _squares(figure: "Figure", number: int) -> "list[Axes]":
    """Four in a row, 0 to 1 both ways, with the diagonal; what is too many stays invisible."""
    panels: list[Axes] = figure.subplots(-(-number // 4), 4, squeeze=False, sharex=True, sharey=True).ravel().tolist()
    for place, axes in enumerate(panels):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.7)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_visible(place < number)
    return panels


@contextmanager
def _matplotlib() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield
