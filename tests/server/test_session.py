"""One run from its folder to its report, with hospitals, network and images that are a few numbers.

However it ends, its folder says so.
"""

import json
from types import SimpleNamespace

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.audit import verify
from fedthorax.common.ground.events import read_events
from fedthorax.server import session
from fedthorax.server.resume import open_run

from .test_rounds import HEADS, SITES, FakeCentral, FakeChannel, FakeLayout


class Central(FakeCentral):
    def predictions_csv(self, predictions):
        return "file\n"


class Line(FakeChannel):
    """Hospitals of which, from a round on, something is heard that ends the run."""

    def __init__(self, ends=None, in_round=2):
        super().__init__()
        self.ends, self.in_round = ends, in_round

    def exchange(self, tasks, enough):
        if self.ends and tasks and tasks[0].round == self.in_round:
            raise self.ends
        self.bytes_sent += 10
        return super().exchange(tasks, enough)


@pytest.fixture
def run(experiment_file, tmp_path, monkeypatch):
    """Makes a run over a channel; ``written`` is what was left beside the record, ``folder`` where."""
    network = SimpleNamespace(layout=FakeLayout(), trained_segments=lambda trainable: HEADS, frozen=lambda scope: {})
    written = []
    monkeypatch.setattr(session, "CentralData", lambda *_: Central(network))
    monkeypatch.setattr(session, "write_examples", lambda *_: 0)
    monkeypatch.setattr(session, "save_models", lambda *_: written.append("models"))
    monkeypatch.setattr(session, "write_report", lambda *_: written.append("report"))
    monkeypatch.setattr("fedthorax.server.rounds.deliver", lambda *_: written.append("delivered"))
    sets = [
        "data.hospitals={north: null, south: null, east: null}",
        "training.phases=[{rounds: 3, trainable: heads, learning_rate: 100.0, local_epochs: 1}]",
        f"output.folder={tmp_path}",
    ]
    experiment = load_experiment(experiment_file(), sets)

    def make(channel, build=lambda experiment: (network, None), mode="consortium", **opened):
        with open_run(experiment, **opened) as place:
            return session.run_session(experiment, SITES, channel, place, mode, build)

    return SimpleNamespace(make=make, written=written, folder=experiment.run_folder)


def on_disk(run):
    verify(run.folder / "audit.jsonl")
    return json.loads((run.folder / "metrics.json").read_text())


def last_event(run):
    found = read_events(run.folder / "events.jsonl")[0][-1]
    return found["kind"], found["status"], found["error"]


def test_a_run_that_ends_well_leaves_record_models_and_report_and_says_so_last(run):
    outcome = run.make(Line())
    assert (outcome.status, outcome.folder) == ("finished", run.folder)
    assert outcome.metrics == on_disk(run)
    assert (outcome.metrics["error"], len(outcome.metrics["rounds"])) == (None, 4)
    assert run.written == ["delivered", "models", "report"]
    assert (run.folder / "test_predictions.csv").read_text() == "file\n"
    assert last_event(run) == ("end", "finished", None)


def test_in_a_simulation_nothing_is_delivered(run):
    run.make(Line(), mode="simulate")
    assert run.written == ["models", "report"]


def test_an_error_is_raised_again_and_stands_in_the_record_the_events_and_the_report(run):
    with pytest.raises(RuntimeError, match=r"the line\nis cut"):
        run.make(Line(RuntimeError("the line\nis cut")))
    assert (on_disk(run)["status"], on_disk(run)["error"]) == ("failed", "the line is cut")
    assert len(on_disk(run)["rounds"]) == 3
    assert run.written == ["models", "report"]
    assert last_event(run) == ("end", "failed", "the line is cut")


def test_an_error_without_words_has_its_name(run):
    with pytest.raises(RuntimeError):
        run.make(Line(RuntimeError()))
    assert on_disk(run)["error"] == "RuntimeError"


def test_who_stops_a_run_gets_an_outcome_and_no_error(run):
    assert run.make(Line(KeyboardInterrupt())).status == "interrupted"
    assert (on_disk(run)["status"], on_disk(run)["error"]) == ("interrupted", "stopped by a person")


def test_where_there_is_no_network_there_are_no_models_but_a_record(run):
    def build(experiment):
        raise ValueError("the weights are damaged")

    with pytest.raises(ValueError, match="the weights are damaged"):
        run.make(Line(), build)
    assert on_disk(run)["error"] == "the weights are damaged"
    assert run.written == ["report"]


def test_what_cannot_be_written_hides_neither_the_error_nor_itself(run, monkeypatch):
    def full(*_):
        raise OSError("no space for the report")

    monkeypatch.setattr(session, "write_report", full)
    with pytest.raises(RuntimeError, match="the line is cut"):
        run.make(Line(RuntimeError("the line is cut")))
    assert last_event(run) == ("end", "failed", "the line is cut")
    with pytest.raises(OSError, match="no space for the report"):
        run.make(Line(), overwrite=True)
    assert on_disk(run)["status"] == "finished"  # what was measured is whole


def test_a_run_goes_on_from_its_newest_checkpoint_with_its_bytes_and_its_name(run):
    with pytest.raises(RuntimeError, match="the line is cut"):
        run.make(Line(RuntimeError("the line is cut")))
    before = on_disk(run)
    line = Line()
    outcome = run.make(line, resume=True)
    assert [entry["after_round"] for entry in outcome.metrics["resumed"]] == [1]
    assert (outcome.metrics["run"], outcome.metrics["error"]) == (before["run"], None)
    assert outcome.metrics["totals"]["bytes_sent"] > before["totals"]["bytes_sent"] > 0
    assert [task.round for task in line.tasks if task.kind == "train" and task.site == "north"] == [2, 3]
