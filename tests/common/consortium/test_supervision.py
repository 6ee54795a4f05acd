"""Real processes, ended in every way; each test waits for what is written down, none for a time."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from fedthorax.common.consortium import supervision
from fedthorax.common.consortium.supervision import Service, end_in_words, supervise

from ...waiting import wait_for

_SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"


class Running:
    """A supervisor in a thread, with what it told."""

    def __init__(self, *services: Service) -> None:
        self.told: list[str] = []
        self.pids: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=supervise, args=(services, self.told.append, self._stop), kwargs={"changed": self._changed}
        )
        self._thread.start()

    def _changed(self, pids) -> None:
        self.pids = dict(pids)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def started(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_DELAY_SECONDS", 0.01)
    running: list[Running] = []

    def start(*services: Service) -> Running:
        running.append(Running(*services))
        return running[-1]

    yield start
    for one in running:
        one.end()


def python(tmp_path: Path, code: str, name: str = "it", **more) -> Service:
    return Service(name, (sys.executable, "-c", code), tmp_path / "logs" / f"{name}.log", tmp_path, **more)


def test_a_killed_process_is_started_again_and_all_end_together(tmp_path, started):
    run = started(python(tmp_path, _SLEEPER, "one"), python(tmp_path, _SLEEPER, "two"))
    wait_for(lambda: len(run.pids) == 2)
    first = dict(run.pids)
    os.kill(first["one"], signal.SIGKILL)
    wait_for(lambda: run.pids.get("one") not in (None, first["one"]))
    assert run.pids["two"] == first["two"]
    assert run.told == ["one was ended by SIGKILL; it is started again in 0 s"]
    run.end()
    assert not any(psutil.pid_exists(pid) for pid in (*first.values(), *run.pids.values()))


def test_what_it_prints_goes_to_the_log_without_colours_and_without_routine(tmp_path, started):
    lines: list[str] = []
    code = "print('\\x1b[92mINFO\\x1b[0m hello'); print('poll 200'); import time; time.sleep(3600)"
    started(python(tmp_path, code, on_line=lines.append, unlogged=re.compile("200$")))
    wait_for(lambda: len(lines) == 2)
    assert lines == ["INFO hello", "poll 200"]
    assert (tmp_path / "logs" / "it.log").read_text() == "INFO hello\n"


def test_a_process_that_keeps_ending_is_told_three_times_with_its_last_words(tmp_path, started):
    log = tmp_path / "logs" / "it.log"
    run = started(python(tmp_path, "print('no such port'); raise SystemExit(3)"))
    wait_for(lambda: log.exists() and log.read_text().count("no such port") >= 4)
    assert run.told[:3] == ["it ended with exit status 3: no such port; it is started again in 0 s"] * 3
    assert run.told[3].startswith("it keeps ending; tries go on")
    assert len(run.told) == 4


def test_a_command_that_does_not_exist_is_told_and_tried_again(tmp_path, started):
    run = started(Service("it", ("/no/such/command",), tmp_path / "it.log", tmp_path))
    wait_for(lambda: len(run.told) >= 2)
    assert "exit status 1" in run.told[0]
    assert "No such file" in run.told[0]


def test_delays_double_up_to_a_minute(tmp_path):
    one = supervision._Kept(Service("it", ("x",), tmp_path / "l", tmp_path), lambda text: None)
    delays = []
    for ends in range(1, 10):
        one._ends = ends
        one._plan_restart("ended", 0.0)
        delays.append(one._due)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_full_disk_that_takes_no_list_of_processes_ends_none_of_them_and_is_tried_again(tmp_path):
    stop, tries = threading.Event(), []

    def changed(pids) -> None:
        tries.append(dict(pids))
        if len(tries) < 3:
            raise OSError(28, "No space left on device")

    arguments = ([python(tmp_path, _SLEEPER)], print, stop, changed)
    thread = threading.Thread(target=supervise, args=arguments)
    thread.start()
    wait_for(lambda: len(tries) == 3)
    assert tries[0] == tries[2]
    assert psutil.pid_exists(tries[0]["it"])
    stop.set()
    thread.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a process as another user")
def test_a_process_of_another_user_has_of_the_environment_what_it_needs_and_no_more(started, monkeypatch):
    monkeypatch.setenv("SECRET_OF_ROOT", "x")
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # unlike pytest's own folder
        shell = ("/bin/sh", "-c", "id -un; env; echo end; exec sleep 3600")
        bell = {"FEDTHORAX_TASK_BELL": "/run/task.bell"}
        run = started(Service("it", shell, Path(place) / "it.log", Path(place), bell, lines.append, user="nobody"))
        wait_for(lambda: "end" in lines)
        run.end()
    assert lines[0] == "nobody"
    assert {"USER=nobody", "FEDTHORAX_TASK_BELL=/run/task.bell"} < set(lines)
    assert not [line for line in lines if "SECRET_OF_ROOT" in line]


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_services_end_with_a_supervisor_that_is_killed(tmp_path):
    code = f"""
import threading, sys
from pathlib import Path
from fedthorax.common.consortium.supervision import Service, supervise
service = Service("it", (sys.executable, "-c", {_SLEEPER!r}), Path("it.log"), Path("."))
supervise([service], print, threading.Event(), lambda pids: print(*pids.values(), flush=True))
"""
    supervisor = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())
    wait_for(lambda: (tmp_path / "it.log").exists() and (tmp_path / "it.log").read_text().strip() == str(child))
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_the_end_of_a_process_in_words():
    assert end_in_words(0) == "ended with exit status 0"
    assert end_in_words(-signal.SIGTERM) == "was ended by SIGTERM"
