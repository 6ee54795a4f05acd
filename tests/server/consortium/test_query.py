"""Asking the hospitals of a consortium for numbers, with a channel and a SuperLink that only pretend."""

import contextlib
import json
from pathlib import Path

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.audit import verify
from fedthorax.common.messages.replies import StatisticsReply
from fedthorax.server.consortium import query as module
from fedthorax.server.consortium.admission import admit
from fedthorax.server.consortium.control import FlowerRun
from fedthorax.server.consortium.query import answer_query, ask_consortium
from fedthorax.server.consortium.runs import read_submissions
from fedthorax.server.consortium.submit import for_consortium

TEXT = """\
name: chest
labels: {findings: [Effusion], cancer_classes: [normal, tumour]}
data:
  hospitals: {Anna: null, Berta: {xray: /secret/xray, ct: /secret/ct}}
  central: {xray: central/xray, ct: central/ct}
training:
  phases: [{rounds: 2, trainable: heads}]
"""


class Channel:
    """Every hospital gives the same answer."""

    def __init__(self, **answer):
        self.answer, self.tasks = answer, []

    def gather(self, required):
        return frozenset()

    def exchange(self, tasks, enough):
        self.tasks += tasks
        for task in tasks:
            yield StatisticsReply(site=task.site, round=0, **self.answer)


class Link:
    """A SuperLink that starts everything and was told what to stop."""

    def __init__(self):
        self.stopped = []

    def nodes(self):
        return ()

    def stop(self, run_id):
        self.stopped.append(run_id)
        return True


@pytest.fixture
def experiment(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("chest.yaml").write_text(TEXT)
    return for_consortium(load_experiment(Path("chest.yaml")), folder)


@pytest.fixture
def serving(folder, applicant, monkeypatch):
    """Both hospitals are admitted; what the ServerApp does is ``link.serve``, called as soon as it was handed in."""
    for name in ("Anna", "Berta"):
        admit(folder, applicant(name).file)
    link = Link()
    link.serve = lambda stem: None

    def hand_in(experiment, folder, flags):
        link.flags = flags
        link.serve("chest-1")
        return 7, folder.path / "submissions" / "chest-1.yaml"

    monkeypatch.setattr(module, "control", lambda folder: contextlib.nullcontext(link))
    monkeypatch.setattr(module, "hand_in", hand_in)
    monkeypatch.setattr(module, "wait_until_over", lambda *_: FlowerRun(7, "finished", "completed", ""))
    return link


def test_the_hospitals_get_no_folder_and_the_reasons_are_kept_where_nobody_answers(folder, experiment, serving):
    channel = Channel(error="paused")
    serving.serve = lambda stem: answer_query(experiment, ("Anna", "Berta"), channel, folder.path, stem)
    with pytest.raises(RuntimeError, match=r"no hospital gave statistics \(Anna: paused; Berta: paused\)"):
        ask_consortium(experiment, folder, print)
    assert serving.flags == {"statistics": True}
    assert [task.site for task in channel.tasks] == ["Anna", "Berta"]
    for task in channel.tasks:
        assert str(folder.path.parent) not in task.experiment
        assert "secret" not in task.experiment
    kept = json.loads((folder.statistics / "chest-1.json").read_text())
    assert (kept["name"], kept["statistics"]) == ("chest", None)
    verify(folder.path / "audit.jsonl")
    events = [json.loads(line)["event"] for line in (folder.path / "audit.jsonl").read_text().splitlines()]
    assert events[-2:] == ["statistics_gathered", "statistics_asked"]
    assert read_submissions(folder) == ()  # there is no run to follow or resume


def test_the_document_comes_back_and_stays(folder, experiment, serving, monkeypatch):
    document = {"sites": {"Anna": {}}}

    class Gathered:
        def document(self):
            return document

    monkeypatch.setattr(module, "ask_statistics", lambda *_: Gathered())
    serving.serve = lambda stem: answer_query(experiment, ("Anna", "Berta"), Channel(), folder.path, stem)
    came, file = ask_consortium(experiment, folder, print)
    assert came == document
    assert file == folder.statistics / "chest-1.json"
    last = json.loads((folder.path / "audit.jsonl").read_text().splitlines()[-2])
    assert last["facts"]["hospitals"] == ["Anna"]


def test_a_server_process_that_leaves_no_answer_is_told_with_flowers_words(folder, experiment, serving, monkeypatch):
    monkeypatch.setattr(module, "wait_until_over", lambda *_: FlowerRun(7, "finished", "failed", "out of memory"))
    with pytest.raises(RuntimeError, match="the query could not be made: out of memory"):
        ask_consortium(experiment, folder, print)


def test_who_does_not_want_to_wait_ends_the_query(folder, experiment, serving, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait_until_over", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask_consortium(experiment, folder, print)
    assert serving.stopped == [7]


def test_a_hospital_that_is_not_admitted_is_not_asked(folder, experiment):
    with pytest.raises(ValueError, match=r"data.hospitals names Anna, Berta, not admitted"):
        ask_consortium(experiment, folder, print)
