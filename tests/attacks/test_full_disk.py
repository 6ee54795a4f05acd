"""The lead's disk is full: nobody is locked out for it, and the reason reaches a person."""

import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedthorax.cli import main as cli
from fedthorax.common.consortium.supervision import Service, supervise
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.consortium import control, runs, start, status, submit
from fedthorax.server.consortium.control import FlowerRun
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium

from ..waiting import free_port

SQLITE = "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full"


def test_a_log_that_takes_no_line_stops_neither_its_process_nor_the_listening(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """/dev/full is a disk without room."""
    heard, stop = list[str](), threading.Event()

    def on_line(line: str) -> None:
        heard.append(line)
        if line == "third":
            stop.set()

    lines = (sys.executable, "-c", "print('first\\nsecond\\nthird', flush=True); import time; time.sleep(60)")
    service = Service("talker", lines, Path("/dev/full"), tmp_path, on_line=on_line)
    supervise([service], lambda text: None, stop)
    assert heard == ["first", "second", "third"]
    assert "Traceback" not in capfd.readouterr().err


def test_the_lead_is_told_once_in_a_while_that_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [1000.0], list[str]()
    monkeypatch.setattr(start.time, "monotonic", lambda: now[0])
    watch = start._DiskWatch(ConsortiumFolder(tmp_path), told.append)
    for line in ("OSError: [Errno 28] No space left on device", SQLITE, "INFO all is well"):
        watch.take(line)
    assert told == [f"the lead's disk takes no file ({tmp_path}); runs stand still or fail until then"]
    monkeypatch.setattr(start, "full_disk", lambda path: f"the disk is full ({path}: 0 KiB free): make room")
    now[0] += 300
    watch.take(SQLITE)
    assert told[1:] == [f"the disk is full ({tmp_path}: 0 KiB free): make room; runs stand still or fail until then"]


@pytest.mark.parametrize("begun", [True, False], ids=["in the middle", "before it wrote anything"])
def test_a_run_that_ended_or_stands_still_on_a_full_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    full = f"the disk is full ({tmp_path / 'chest'}: 0 KiB free): make room"
    monkeypatch.setattr(runs, "full_disk", lambda path: full)
    submission = runs.Submission(7, "chest", str(tmp_path / "chest"), "chest.yaml", 0.0, False)
    if begun:
        with RunFolder.create(tmp_path / "chest") as folder:
            folder.metrics.write_text('{"schema_version": 3, "status": "running", "error": null}')
            end = runs.verdict(submission, None)
            assert end == runs.Verdict("stands still", f"{full}, and come back with `fedthorax run --follow chest`")
    end = runs.verdict(submission, FlowerRun(7, "finished", "failed", "exit code 1"))
    assert end.status == "failed"
    assert full in str(end.problem)


@pytest.fixture
def consortium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsortiumFolder:
    """A consortium that nobody serves, on a full disk."""
    (tmp_path / "net.yaml").write_text(f"name: net\naddress: 127.0.0.1:8443\nsuperlink_port: {free_port()}\n")
    made = create_consortium(tmp_path / "net.yaml", tmp_path / "net")
    for module in (status, submit, control):
        monkeypatch.setattr(module, "full_disk", lambda path: f"the disk is full ({path}: 0 KiB free): make room")
    return made


def test_the_status_of_a_consortium_on_a_full_disk_is_no_success(
    consortium: ConsortiumFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    full = f"the disk is full ({consortium.path}: 0 KiB free): make room"
    assert cli.run(["server", "status", "--folder", str(consortium.path)]) == 1
    said = capsys.readouterr()
    assert said.err == f"error: {full}; runs stand still or fail until then\n"
    assert "no hospital is admitted yet" in said.out
    assert cli.run(["server", "status", "--folder", str(consortium.path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["full_disk"] == full


def test_a_superlink_that_cannot_write_is_no_reason_to_show_no_status(
    consortium: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("the SuperLink refused /v1/control/list-nodes: HTTP 500")

    monkeypatch.setattr(status, "control", refused)
    assert not status.consortium_status(consortium).running
    monkeypatch.setattr(status, "full_disk", lambda path: None)
    with pytest.raises(RuntimeError, match="HTTP 500"):  # for another reason: that is said
        status.consortium_status(consortium)


def test_nothing_is_submitted_to_a_full_disk(consortium: ConsortiumFolder) -> None:
    with pytest.raises(OSError, match=r"the disk is full .*: make room"):
        submit.hand_in(SimpleNamespace(run_folder=consortium.runs / "chest"), consortium, {})  # type: ignore[arg-type]
    assert not (consortium.path / "submissions").exists()


def test_a_server_that_does_not_answer_beside_a_full_disk_is_told_with_it(consortium: ConsortiumFolder) -> None:
    words = r"does not answer at 127\.0\.0\.1:.*; the disk is full"
    with pytest.raises(control.ServerNotRunningError, match=words), control.control(consortium) as link:
        link.nodes()
