"""A figure is one declaration: added to a copy of the source, it is everywhere where a figure is shown."""

import pytest

from ...source import copy_source, python

BEFORE = "    f1: Annotated["
FIGURE = """\
    negative_value: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "negative predictive value",
            "Of the images that the model left alone, the share that are negative.",
            ("negatives",),
            lambda cells: ratio(
                cells.sums["right"] - cells.sums["hits"], cells.sums["known"] - cells.sums["predicted"]
            ),
            ("history", "headline", "table", "card"),
        ),
    ] = None
"""
SEEN = """\
from fedthorax.cli.tables import score_lines
from fedthorax.common.record.history import history_csv
from fedthorax.common.record.run import read_run
from fedthorax.common.release.model_card import _scores
from fedthorax.common.report.comparison import headline_rows
from fedthorax.common.report.document import render
from fedthorax.server.tracking.tracking import figures


def test_it_is_everywhere(metrics):
    run = read_run(metrics)
    value = run.test.mean("disease", "negative_value")
    assert 0 < value < 1
    assert run.test.interval("disease", "negative_value", "Mass")
    assert {"disease_negative_value", "cancer_negative_value"} < set(history_csv(run).split("\\n")[0].split(","))
    places = [name for _, name, _ in figures(run)]
    assert "central/test/disease_negative_value" in places
    assert "central/valid/cancer_negative_value" in places
    page = render(run, None)
    assert page.count(">Negative predictive value<") > 2
    assert "Of the images that the model left alone" in page
    assert "egative predictive value" in _scores(run.test, ("disease", "cancer"))
    assert {"X-ray findings: mean negative predictive value", "CT classes: mean negative predictive value"} < {
        row["name"] for row in headline_rows([run])
    }
    assert "negative predictive value" in "\\n".join(score_lines(metrics["test"]))
"""
TESTS = ("metrics/test_disease.py", "metrics/test_cancer.py", "record/test_run.py", "report/test_tables.py")


@pytest.mark.slow
def test_a_figure_that_is_declared_in_one_place_is_everywhere(tmp_path):
    copy_source(tmp_path)
    file, tests = tmp_path / "common" / "metrics" / "figures.py", tmp_path / "tests" / "common"
    declared = file.read_text(encoding="utf-8").replace(BEFORE, FIGURE + BEFORE)
    assert FIGURE in declared
    file.write_text(declared, encoding="utf-8")
    (tests / "report" / "test_seen.py").write_text(SEEN, encoding="utf-8")
    schema = python(tmp_path, "-m", "fedthorax.common.record.run")
    assert "Negative predictive value. Of the images that the model left alone" in schema
    (tmp_path / "docs" / "metrics.schema.json").write_text(schema, encoding="utf-8")
    chosen = [str(tests / name) for name in ("report/test_seen.py", *TESTS)]
    assert " passed" in python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)
