"""The report's plots as files, for slides and papers: ``plots/*.svg`` and ``*.png`` in the run folder."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedthorax.common.ground.atomic_write import write_bytes
from fedthorax.common.metrics.scores import TASKS, Task
from fedthorax.common.record.modalities import lacking, without
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import CalibrationBoth, CentralTest, Run
from fedthorax.common.report.cautions import is_few
from fedthorax.common.report.plots import chart_series, charts_without

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
_LABELS: dict[Task, str] = {"disease": "findings", "cancer": "classes"}
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


def write_plots(folder: Path, run: Run) -> list[Path]:
    """Every plot that the run has figures for; the files written. ``folder`` is made."""
    drawn: dict[str, Figure] = {}
    absent = lacking(run)
    run = without(run, absent)
    with _matplotlib():
        if run.rounds:
            drawn["rounds"] = rounds_figure(run, absent)
        if run.test:
            drawn |= _test_figures(run.test, absent)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, figure in drawn.items():
            for kind, settings in (("svg", {"metadata": {"Date": None}}), ("png", {"metadata": {"Software": None}})):
                stream = io.BytesIO()
                figure.savefig(stream, format=kind, dpi=DPI, bbox_inches="tight", **settings)  # type: ignore[arg-type]
                written.append(folder / f"{name}.{kind}")
                write_bytes(written[-1], [stream.getvalue()])
    return written


def _test_figures(test: CentralTest, absent: Modality | None) -> "dict[str, Figure]":
    drawn = {}
    for task, title in TASKS:
        rows, curves = test.head(task).rows, getattr(test.curves, task)
        if any(row.roc_auc is not None for row in rows.values()):
            drawn[f"scores-{_LABELS[task]}"] = scores_figure(test, task, title)
        if any(curves.get(label) for label in rows):
            drawn[f"roc-{_LABELS[task]}"] = roc_figure(test, task)
    if test.calibration:
        drawn["reliability"] = reliability_figure(test.calibration, absent)
    matrix = test.cancer.confusion_matrix
    if test.cancer.rows and matrix and sum(map(sum, matrix)):
        drawn["confusion"] = confusion_figure(matrix, list(test.cancer.rows))
    return drawn


def rounds_figure(run: Run, absent: Modality | None = None) -> "Figure":
    """The report's curves over the rounds."""
    from matplotlib.ticker import MaxNLocator

    charts = charts_without(absent)
    rows = -(-len(charts) // 2)
    figure = _figure(10, 3 * rows)
    panels: Sequence[Axes] = figure.subplots(rows, 2).ravel().tolist()
    for axes, chart in zip(panels, charts, strict=True):
        for line in chart_series(chart, run):
            values = [float("nan") if y is None else y for _, y in line.points]
            label = None if line.style == "faint" else line.name
            axes.plot([x for x, _ in line.points], values, label=label, **_STYLES[line.style])
        if run.best_round is not None:
            axes.axvline(run.best_round, color="#0b7a55", linestyle="--", linewidth=1)
        axes.set(title=chart.title, xlabel="round")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = panels[1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def scores_figure(test: CentralTest, task: Task, title: str) -> "Figure":
    """ROC-AUC of each label with its interval; grey: fewer than ten positives or negatives."""
    rows = test.head(task).rows
    shown = [(name, row, area) for name, row in rows.items() if (area := row.roc_auc) is not None][::-1]
    figure = _figure(6, 1 + 0.3 * len(shown))
    axes = figure.subplots()
    for place, (name, row, area) in enumerate(shown):
        few = is_few(row)
        low_high = None if few else test.interval(task, "roc_auc", name)
        if low_high:
            axes.plot(low_high, [place, place], color=_COLOURS[0], linewidth=4, alpha=0.35, solid_capstyle="butt")
        axes.plot(area, place, "o", color="grey" if few else _COLOURS[0], fillstyle="none" if few else "full")
    names = [f"{name} ({row.support})" for name, row, _ in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.axvline(0.5, color="grey", linestyle=":")
    axes.set(xlim=(0, 1.02), xlabel="ROC-AUC, 95 % interval; hollow: descriptive only", title=f"{title} (positives)")
    return figure


def roc_figure(test: CentralTest, task: Task) -> "Figure":
    rows, curves = test.head(task).rows, getattr(test.curves, task)
    figure = _figure(10, 2.6 * -(-len(rows) // 4))
    for axes, (name, row) in zip(_squares(figure, len(rows)), rows.items(), strict=False):
        if curve := curves.get(name):
            axes.plot(curve.fpr, curve.tpr, color=_COLOURS[0])
        axes.set_title(f"{name}: {row.roc_auc:.3f}" if row.roc_auc is not None else f"{name}: undefined", fontsize=8)
    figure.supxlabel("1 - specificity")
    figure.supylabel("sensitivity")
    return figure


def reliability_figure(calibration: CalibrationBoth, absent: Modality | None = None) -> "Figure":
    """Grey: before calibration; blue: after."""
    after, before = (
        {
            **(when.disease if absent != "xray" else {}),
            **({"CT classes": when.cancer} if absent != "ct" else {}),
        }
        for when in (calibration.after, calibration.before)
    )
    figure = _figure(10, 2.6 * -(-len(after) // 4))
    for axes, name in zip(_squares(figure, len(after)), after, strict=False):
        for found, colour in ((before[name], "grey"), (after[name], _COLOURS[0])):
            x, y = [one.mean_probability for one in found.bins], [one.share_positive for one in found.bins]
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
