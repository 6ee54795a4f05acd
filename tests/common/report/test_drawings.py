import re

import pytest

from fedthorax.common.page.svg import LineChart, Series, nice_ticks
from fedthorax.common.record.run import Curve, read_run
from fedthorax.common.report.plots import ForestRow, forest, legend, roc_square, round_charts


def drawn(*points):
    return LineChart([Series("Nord", list(points), "site0")], x_max=4, description="x").draw()


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.48, 0.73, [0.4, 0.5, 0.6, 0.7, 0.8]),
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1.0]),
        (0.97, 1.0, [0.97, 0.98, 0.99, 1.0]),
        (3, 11, [2, 4, 6, 8, 10, 12]),
    ],
)
def test_ticks_are_round_numbers_that_enclose_the_values(low, high, ticks):
    assert nice_ticks(low, high) == ticks


def test_equal_values_still_make_an_axis_within_the_limits():
    ticks = nice_ticks(1.0, 1.0, (0, 1))
    assert len(ticks) >= 2
    assert ticks[-1] == 1.0


def test_an_undefined_figure_interrupts_the_line():
    assert re.search(r'd="M[\d. ]+L[\d. ]+M[\d. ]+L[\d. ]+"', drawn((0, 1), (1, 2), (2, None), (3, 1), (4, 2)))


def test_a_figure_between_two_gaps_is_a_dot():
    assert drawn((0, None), (1, 2.0), (2, None)).count("<circle") == 1
    assert drawn((0, 1.0), (1, 2.0)).count("<circle") == 0


def test_no_figure_at_all_is_said():
    assert "No figure is defined." in drawn((0, None))


def test_a_higher_figure_is_drawn_higher_and_a_later_round_further_right():
    x0, y0, x1, y1 = map(
        float, re.search(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', drawn((0, 0.2), (4, 0.8))).groups()
    )
    assert x1 > x0
    assert y1 < y0
    assert x1 == pytest.approx(LineChart.width - LineChart.right)


def test_every_chart_marks_phases_and_the_selected_round(metrics):
    charts = round_charts(read_run(metrics))
    assert len(charts) == 6
    for chart in charts:
        assert chart["drawing"].count('class="band') == 2
        assert chart["drawing"].count('class="mark"') == 1
    assert round_charts(read_run({**metrics, "rounds": []})) == []


def test_many_hospitals_share_one_thin_line_style_and_have_a_median(run_metrics):
    names = [f"H{number}" for number in range(7)]
    assert [entry["name"] for entry in legend(names)][1:] == ["Each of the 7 hospitals", "Median of the hospitals"]
    drawing = round_charts(read_run(run_metrics(tuple(names), 2)))[0]["drawing"]
    assert drawing.count("line faint") == 7
    assert drawing.count("line median") == 1


def test_an_undefined_roc_curve_is_said():
    assert "undefined" in roc_square("Mass", None, None)
    assert 'd="M1.0 101.0L1.0 1.0L101.0 1.0"' in roc_square("Mass", Curve(fpr=(0, 0, 1), tpr=(0, 1, 1)), 1.0)


def test_a_forest_has_the_best_first_and_the_mean_last_and_no_bar_of_few_images():
    rows = [ForestRow("Mass", 0.75, [0.5, 1.0]), ForestRow("Hernia", 0.8, None), ForestRow("Edema", None, None)]
    drawing = forest("Findings", [*rows, ForestRow("Mean", 0.775, [0.7, 0.85], mean=True)])
    assert re.findall(r'text-anchor="end">(.+?)</text>', drawing) == ["Hernia", "Mass", "Mean"]
    assert drawing.count("whisker") == 2
    assert drawing.count("hollow") == 1
    assert ">0.750 (0.500 to 1.000)</text>" in drawing
    assert 'aria-label="Findings: Hernia 0.800; Mass 0.750; Mean 0.775."' in drawing


def test_a_forest_reaches_down_to_the_lowest_end_and_up_to_1():
    drawing = forest("Findings", [ForestRow("Mass", 0.5, [0.0, 1.0])])
    left, right = re.search(r'class="whisker" d="M([\d.]+) [\d.]+H([\d.]+)"', drawing).groups()
    assert (float(left), float(right)) == (158, 300)
    assert ">0.0<" in drawing
