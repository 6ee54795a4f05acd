"""``fedthorax stats`` against a stand-in for the simulation."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from fedthorax.cli import main as cli
from fedthorax.cli.statistics_lines import statistics_lines, table_lines
from fedthorax.common.report.statistics_tables import TextTable


@pytest.fixture
def asked(monkeypatch, statistics_document):
    """What the simulation was asked; it answers with the two small hospitals."""
    calls = []
    module = ModuleType("fedthorax.simulations.simulate")
    module.simulate_statistics = lambda experiment: (
        calls.append(experiment) or SimpleNamespace(document=lambda: statistics_document)
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_the_tables_are_printed_within_80_columns(asked, experiment_file, capsys):
    assert cli.run(["stats", str(experiment_file()), "--set", "data.privacy.smallest_count=7"]) == 0
    assert asked[0].data.privacy.smallest_count == 7
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 hospitals; counts of fewer than 5 patients are hidden;")
    assert "Effusion  20 of 100  hidden of 80+  20+ of 180" in lines
    assert max(map(len, lines)) <= 80


def test_json_is_the_document(asked, experiment_file, capsys, statistics_document):
    assert cli.run(["stats", str(experiment_file()), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == statistics_document


def test_a_page_is_written_where_asked(asked, experiment_file, capsys, tmp_path):
    assert cli.run(["stats", str(experiment_file()), "--html", "page.html"]) == 0
    assert "What the hospitals hold" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.splitlines()[-1] == "page: page.html"


def test_a_page_in_a_missing_folder_is_refused_before_anybody_is_asked(asked, experiment_file, capsys):
    assert cli.run(["stats", str(experiment_file()), "--html", "none/page.html"]) == 1
    assert capsys.readouterr().err == "error: none/page.html: the folder none does not exist; make it first\n"
    assert asked == []


def test_a_policy_that_does_not_protect_is_refused(asked, experiment_file, capsys):
    assert cli.run(["stats", str(experiment_file()), "--set", "data.privacy.smallest_count=2"]) == 1
    assert "smallest_count must be 1 (nothing is hidden) or at least 3" in capsys.readouterr().err
    assert asked == []


def test_many_hospitals_are_printed_in_blocks():
    names = tuple(f"hospital {number}" for number in range(12))
    lines = table_lines(TextTable("X-rays", names, (("Effusion", *("1000 of 2000",) * 12),)))
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("Effusion") for line in lines) == 3
    assert all(any(name in line for line in lines) for name in names)


def test_long_names_are_cut(statistics_document):
    statistics_document["sites"] = {
        f"{name} of a very long name indeed" * 3: site for name, site in statistics_document["sites"].items()
    }
    statistics_document["distances"]["findings"]["pairs"] = []
    assert max(map(len, statistics_lines(statistics_document))) <= 80


def test_a_real_consortium_is_asked_where_its_folder_is_named(
    experiment_file, capsys, tmp_path, monkeypatch, statistics_document
):
    asked = []

    def ask(experiment, folder, tell):
        asked.append((experiment, folder))
        return statistics_document, tmp_path / "kept.json"

    monkeypatch.setattr("fedthorax.server.consortium.folder.open_consortium", lambda path: path)
    monkeypatch.setattr("fedthorax.server.consortium.submit.for_consortium", lambda experiment, folder: experiment)
    monkeypatch.setattr("fedthorax.server.consortium.query.ask_consortium", ask)
    file = str(experiment_file())
    assert cli.run(["stats", file, "--consortium", str(tmp_path), "--json", "--html", str(tmp_path / "page.html")]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == statistics_document
    assert "kept as" in told.err
    assert asked[0][1] == tmp_path
    assert (tmp_path / "page.html").is_file()


def test_a_folder_that_is_no_consortium_is_refused(experiment_file, capsys, tmp_path):
    assert cli.run(["stats", str(experiment_file()), "--consortium", str(tmp_path)]) == 1
    assert "not a consortium's folder" in capsys.readouterr().err
