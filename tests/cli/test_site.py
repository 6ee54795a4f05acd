"""``fedthorax site`` as a person types it, without a server."""

from pathlib import Path

import pytest

from fedthorax.cli import main as cli
from fedthorax.client.site.egress import EgressLog
from fedthorax.client.site.participation import Participation
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import DescribeTask, TrainTask

SITE = "name: north\nconsortium: net\nserver: localhost:1\nxray: xray\nct: ct\n"
SUMMARY = {
    "name": "lungs",
    "hospitals": ["north"],
    "network": "two small ones",
    "findings": ["Mass"],
    "cancer_classes": ["normal"],
    "phases": ["3 rounds: everything"],
    "leaves": ["weights"],
    "stays": ["the images"],
}


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hospital's folder, which is the working directory; one run waits for a decision."""
    (tmp_path / "state").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "site.yaml").write_text(SITE)
    monkeypatch.chdir(tmp_path)
    Participation(tmp_path / "state").request(DescribeTask(site="north", round=0, run="f00d"), SUMMARY)
    return tmp_path


def _said(capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0) -> str:
    assert cli.run(["site", *arguments]) == expect
    captured = capsys.readouterr()
    return captured.out if expect == 0 else captured.err


def test_a_waiting_run_is_listed_shown_and_approved(hospital: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _said(capsys, "approve") == "lungs  f00d\n"
    shown = _said(capsys, "approve", "lungs", "--yes")
    assert "would be trained here:\n  3 rounds: everything\nwould leave:\n  weights\n" in shown
    assert shown.endswith("stays here: the images\napproved\n")
    assert _said(capsys, "approve") == "no run waits\n"


def test_nothing_is_decided_where_nobody_can_be_asked(hospital: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nobody is there to answer; add --yes" in _said(capsys, "approve", "lungs", expect=1)
    assert Participation(hospital / "state").waiting()


def test_pause_withdraw_and_resume_change_the_standing(hospital: Path, capsys: pytest.CaptureFixture[str]) -> None:
    standings = []
    for command in (["pause"], ["withdraw", "--yes"], ["resume"]):
        _said(capsys, *command)
        standings.append(Participation(hospital / "state").standing)
    assert standings == ["paused", "withdrawn", "takes part"]


def test_the_log_is_shown_and_verified_and_a_changed_one_is_an_error(
    hospital: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _said(capsys, "log") == "nothing has left\n"
    log = EgressLog(hospital / "egress.jsonl")
    log.record(TrainTask(site="north", round=4, run="f00d"), closed(TrainReply(site="north", round=4, error="no")))
    assert "f00d round 4 train: " in _said(capsys, "log")
    assert _said(capsys, "log", "--verify") == "egress.jsonl: 1 line, the chain is whole\n"
    log.path.write_text(log.path.read_text().replace('"round":4', '"round":5'))
    assert "line 1 was changed after it was written" in _said(capsys, "log", "--verify", expect=1)


def test_a_folder_without_a_hospital_is_an_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no site.yaml here; give the hospital's folder with --folder" in _said(capsys, "results", expect=1)
