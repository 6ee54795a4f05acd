"""The lead's disk is full: nobody is locked out for it, and the reason reaches a person."""

import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from fedthorax.common.consortium.supervision import Service, supervise
from fedthorax.common.record import run_folder
from fedthorax.server.consortium import runs, start
from fedthorax.server.consortium.control import FlowerRun
from fedthorax.server.consortium.folder import ConsortiumFolder

Usage = namedtuple("Usage", "total used free")
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
    assert told == [f"the lead's disk takes no file ({tmp_path}): runs stand still or fail until there is room"]
    now[0] += 300
    watch.take(SQLITE)
    assert len(told) == 2


@pytest.mark.parametrize("status", ["running", None], ids=["in the middle", "before it wrote anything"])
def test_a_run_that_ended_on_a_full_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    (tmp_path / "chest").mkdir()
    if status is not None:
        (tmp_path / "chest" / "metrics.json").write_text('{"schema_version": 1, "status": "running", "error": null}')
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    submission = runs.Submission(7, "chest", str(tmp_path / "chest"), "chest.yaml", 0.0, False)
    end = runs.verdict(submission, FlowerRun(7, "finished", "failed", "exit code 1"))
    assert end.status == "failed"
    assert f"the disk is full ({tmp_path / 'chest'}): make room" in str(end.problem)
