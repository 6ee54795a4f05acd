"""The page of a run: what it shows as the run grows, and what its server refuses."""

import http.client
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedthorax.common.ground.events import EventLog
from fedthorax.common.page.local import OnlyHere
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.watch.page import content
from fedthorax.common.watch.run_state import RunState, require_run
from fedthorax.common.watch.server import watch_app

from ...asking import HERE, Ask, asking
from ...runs import partial_round, partial_run

CENTRAL = {
    "loss": 1.25,
    "disease": {"macro": {"roc_auc": 0.625, "f1": None}},
    "cancer": {"accuracy": 0.5, "macro": {"roc_auc": 0.75}},
}


def write_metrics(folder: Path, rounds: int, **changes: Any) -> None:
    entries = [partial_round(number, central=CENTRAL) for number in range(rounds)]
    value = partial_run(sites={"north": {}}, rounds=entries, **changes)
    (folder / "metrics.json.new").write_text(json.dumps(value))
    (folder / "metrics.json.new").replace(folder / "metrics.json")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of two rounds that has just begun."""
    folder = tmp_path / "demo"
    with EventLog(folder / "events.jsonl") as log:
        log.emit("run", name="demo <1>", mode="simulate", rounds=2, sites=["north"])
        log.emit("site", site="north", round=1, stage="train", done=3, total=8, epoch=1, epochs=1, loss=0.5)
    write_metrics(folder, rounds=0)
    return folder


@pytest.fixture
def ask(run_folder: Path) -> Ask:
    return asking(OnlyHere(watch_app(run_folder)))


def answer(ask: Ask, path: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    reply = ask(method, path, headers=headers)
    return reply.status_code, reply.text, reply.headers


def test_the_page_follows_a_run_from_its_beginning_to_its_report(ask: Ask, run_folder: Path) -> None:
    _, begun, _ = answer(ask, "/now")
    assert "No round is finished yet." in begun
    assert "training" in begun
    assert "3/8" in begun
    write_metrics(run_folder, rounds=1)
    with EventLog(run_folder / "events.jsonl") as log:
        log.emit("round", round=0, rounds=2, central=CENTRAL, failures=[], seconds=1.0)
    _, grown, _ = answer(ask, "/now")
    assert "0 of 2 rounds done" in grown
    assert "X-ray findings: mean ROC-AUC (validation)" in grown
    assert "0.625" in grown
    (run_folder / "report.html").write_text("<p>the report</p>")
    write_metrics(run_folder, rounds=3, status="finished")
    with EventLog(run_folder / "events.jsonl") as log:
        log.emit("end", status="finished")
    _, ended, _ = answer(ask, "/now")
    assert 'class="status finished"' in ended
    assert 'href="report"' in ended
    assert answer(ask, "/report")[:2] == (200, "<p>the report</p>")


def test_names_are_shown_and_never_run(ask: Ask) -> None:
    _, text, headers = answer(ask, "/")
    assert "demo &lt;1&gt;" in text
    assert "<1>" not in text
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "http" not in text.replace('http-equiv="refresh"', "")  # nothing is loaded from elsewhere


@pytest.mark.parametrize(
    "path",
    ["/metrics.json", "/../demo/config.yaml", "/..%2fconfig.yaml", "//etc/passwd", "/report/../config.yaml", "/x"],
)
def test_nothing_else_of_the_disk_can_be_asked_for(ask: Ask, path: str) -> None:
    status, text, _ = answer(ask, path)
    assert (status, text) == (404, "there is nothing here; the page is at /\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_reading_is_possible(ask: Ask, method: str) -> None:
    assert answer(ask, "/", method)[0] == 403
    status, _, headers = answer(ask, "/", method, Origin=HERE)
    assert (status, set(headers["Allow"].split(", "))) == (405, {"GET", "HEAD"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("", 403),
    ],
)
def test_a_foreign_name_for_this_computer_is_refused(ask: Ask, host: str, status: int) -> None:
    assert answer(ask, "/now", Host=host)[0] == status


def test_a_run_of_the_same_name_that_begins_anew_is_followed(run_folder: Path) -> None:
    state = RunState(run_folder)
    state.refresh()
    (run_folder / "events.jsonl").unlink()
    with EventLog(run_folder / "events.jsonl") as log:
        log.emit("run", name="anew", mode="simulate", rounds=7, sites=["south"])
    state.refresh()
    assert (state.progress.name, state.progress.rounds, list(state.progress.sites)) == ("anew", 7, ["south"])


def test_a_run_whose_process_is_gone_is_not_called_running(run_folder: Path) -> None:
    state = RunState(run_folder)
    (run_folder / ".lock").write_text("FedThorax run folder\n")
    with RunFolder.resume(run_folder):
        state.refresh()
        assert "running" in content(state)
    state.refresh()
    assert "stopped: its process is gone" in content(state)
    with RunFolder.resume(run_folder) as folder:
        folder.last_words("failed", "the disk is full (runs/demo: 0 KiB free): make room")
    state.refresh()
    assert "the disk is full (runs/demo: 0 KiB free): make room" in content(state)


def test_a_half_written_record_leaves_the_page_as_it_was(run_folder: Path) -> None:
    write_metrics(run_folder, rounds=1)
    state = RunState(run_folder)
    state.refresh()
    (run_folder / "metrics.json").write_text('{"rounds": [')
    state.refresh()
    assert "0.625" in content(state)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run; expected a run folder such as runs/demo"):
        require_run(tmp_path)


def test_ctrl_c_closes_the_page_and_nothing_else(run_folder: Path, fedthorax_command: list[str]) -> None:
    process = subprocess.Popen(
        [*fedthorax_command, "watch", str(run_folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[1]
    connection = http.client.HTTPConnection("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]), timeout=30)
    connection.request("GET", "/now")
    assert connection.getresponse().status == 200
    connection.close()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (0, "the page is closed\n", "")
