"""``fedthorax run`` without a SuperLink: what it refuses, and what its exit status says."""

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from fedthorax.cli import main as cli
from fedthorax.server.consortium.control import FlowerRun
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium
from fedthorax.server.consortium.runs import Submission, note_submission, read_submissions

from ..runs import partial_run


@pytest.fixture
def consortium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsortiumFolder:
    monkeypatch.chdir(tmp_path)
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    Path("consortium.yaml").write_text(f"name: thorax\naddress: 127.0.0.1:{ports[0]}\nsuperlink_port: {ports[1]}\n")
    return create_consortium(Path("consortium.yaml"))


@pytest.fixture
def submitted(consortium: ConsortiumFolder) -> Path:
    """The run folder of a run that was submitted a minute ago."""
    folder = consortium.runs / "chest"
    folder.mkdir()
    note_submission(consortium, Submission(7, "chest", str(folder), "chest.yaml", time.time() - 60, False))
    return folder


def over(monkeypatch: pytest.MonkeyPatch, folder: Path, sub_status: str, **metrics: object) -> None:
    """Flower says that the run is over, and metrics.json says ``metrics``."""
    (folder / "metrics.json").write_text(json.dumps(partial_run(name="chest", **metrics)))
    monkeypatch.setattr(
        "fedthorax.server.consortium.runs.wait_until_over", lambda *_: FlowerRun(7, "finished", sub_status, "")
    )


@pytest.mark.parametrize(
    "arguments",
    [["--overwrite"], ["a.yaml", "--stop", "x"], ["--follow", "x", "--resume", "x"], ["a.yaml", "--follow", "x"]],
)
def test_one_thing_is_done_at_a_time(
    consortium: ConsortiumFolder, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.run(["run", *arguments]) == 2
    assert "give one of EXPERIMENT.yaml, --follow, --stop, --resume and --deliver" in capsys.readouterr().err


def test_a_server_that_does_not_run_is_said_before_anything_is_written(
    consortium: ConsortiumFolder, experiment_file, capsys: pytest.CaptureFixture[str]
) -> None:
    file = experiment_file()
    assert cli.run(["run", str(file)]) == 1
    errors = capsys.readouterr().err
    assert "the consortium's server does not answer at 127.0.0.1:" in errors
    assert "fedthorax server start" in errors
    assert read_submissions(consortium) == ()


def test_a_run_that_finished_ends_with_its_report_and_exit_status_0(
    submitted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    over(monkeypatch, submitted, "completed", status="finished", best_round=2, error=None)
    (submitted / "report.html").write_text("<html></html>")
    assert cli.run(["run", "--follow", "chest"]) == 0
    assert capsys.readouterr().out.endswith("report: thorax/runs/chest/report.html\n")
    assert cli.run(["run", "--follow", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best_round"] == 2


@pytest.mark.parametrize(
    ("sub_status", "status", "error", "words"),
    [
        ("completed", "failed", "no hospital is connected", "chest failed: no hospital is connected"),
        ("failed", "running", None, "go on with `fedthorax run --resume chest`"),
        ("stopped", "interrupted", "stopped by a person", "chest stopped: stopped with `fedthorax run --stop`"),
    ],
)
def test_a_run_that_did_not_finish_says_why_with_exit_status_1(
    submitted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sub_status: str,
    status: str,
    error: str | None,
    words: str,
) -> None:
    over(monkeypatch, submitted, sub_status, status=status, error=error)
    assert cli.run(["run", "--follow", "chest"]) == 1
    assert words in capsys.readouterr().err


def test_a_finished_run_cannot_be_stopped_and_that_is_said_in_words(
    submitted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Finished:
        """Of Flower's control API, what it answers for a run that is over."""

        def StopRun(self, _: object) -> None:  # noqa: N802
            httpx.Response(412, request=httpx.Request("POST", "http://superlink")).raise_for_status()

        def ListRuns(self, _: object) -> SimpleNamespace:  # noqa: N802
            status = SimpleNamespace(status="finished", sub_status="completed", details="")
            return SimpleNamespace(run_dict={7: SimpleNamespace(status=status)})

        def close(self) -> None:
            pass

    client = "flwr.supercore.control.ControlHttpClient.from_server_address"
    monkeypatch.setattr(client, lambda *_, **__: Finished())
    assert cli.run(["run", "--stop", "chest"]) == 1
    assert capsys.readouterr().err == "error: chest (7) cannot be stopped: it is completed\n"


def test_ctrl_c_leaves_the_run_going_and_says_how_to_come_back(
    submitted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedthorax.server.consortium.runs.wait_until_over", interrupted)
    assert cli.run(["run", "--follow", "chest"]) == 130
    assert "the run goes on; come back with: fedthorax run --follow chest" in capsys.readouterr().err


def test_the_state_of_every_hospital_is_shown_as_it_changes(
    submitted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fedthorax.common.ground.events import EventLog

    with EventLog(submitted / "events.jsonl") as events:
        events.emit("run", name="chest", rounds=2, sites=["north", "south"])
        events.emit("server", round=1, stage="wait")
        events.emit("hospital", site="north", state="working", since=60.0)
        events.emit("hospital", site="south", state="waiting", since=60.0)
        events.emit("hospital", site="north", state="replied", since=60.0)
        events.emit("hospital", site="south", state="missing", since=60.0)
    over(monkeypatch, submitted, "completed", status="failed", error="too few")
    assert cli.run(["run", "--follow", "chest"]) == 1
    lines = capsys.readouterr().out.splitlines()
    since = time.strftime("%H:%M", time.localtime(60.0))
    assert lines == [
        "run chest: 2 rounds, hospitals north, south",
        f"round 1/2: north working since {since}",
        "round 1/2: south not connected",
        "round 1/2: north replied",
        "round 1/2: south missing",
    ]
