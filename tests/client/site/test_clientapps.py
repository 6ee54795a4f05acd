"""ClientApps are forked from a process that has imported everything, and each is a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import fedthorax
from fedthorax.client.site.clientapps import FIFO, make_program

# Stands in for Flower's programs: the SuperExec asks for one ClientApp with its own arguments and stays; a ClientApp
# writes down who it is, and what it finds imported.
PROGRAM = """
import json, os, sys, types
def clientapp():
    with open(sys.argv[1], "w") as file:
        imported = "fedthorax.client_app" in sys.modules
        json.dump({"pid": os.getpid(), "parent": os.getppid(), "argv": sys.argv, "imported": imported}, file)
    os.rename(sys.argv[1], sys.argv[1] + ".done")
    sys.exit(int(sys.argv[2]))
fake = types.ModuleType("flwr.supernode.cli")
fake.flwr_clientapp = clientapp
sys.modules["flwr.supernode.cli"] = fake
from fedthorax.client.site import clientapps
clientapps.sys.executable = sys.argv.pop(1)
sys.exit(clientapps.main())
"""
SUPEREXEC = """#!/bin/sh
for place in "$@"; do flwr-clientapp "$place" 3; done
exec sleep 600
"""


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)
    return found


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder that holds Python and a SuperExec beside it, as an installation does."""
    folder = tmp_path / "with a space"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "flower-superexec").write_text(SUPEREXEC)
    (folder / "flwr-clientapp").write_text('#!/bin/sh\necho "$@" > "$1"\n')
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


@pytest.fixture
def running(tmp_path: Path, programs: Path) -> Iterator[subprocess.Popen[str]]:
    home = tmp_path / "home"
    home.mkdir()
    source = Path(fedthorax.__file__).parents[1]
    command = [sys.executable, "-c", PROGRAM, str(programs / "python"), str(tmp_path / "a"), str(tmp_path / "b")]
    environment = os.environ | {"FLWR_HOME": str(home), "PYTHONPATH": str(source)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:  # closes what it prints to
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_every_task_gets_a_process_of_its_own_that_has_nothing_left_to_import(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    told = [json.loads(wait_for(lambda at=at: _text(tmp_path / f"{at}.done"))) for at in "ab"]
    assert [each["argv"] for each in told] == [["flwr-clientapp", str(tmp_path / at), "3"] for at in "ab"]
    assert len({running.pid, *(each["pid"] for each in told)}) == 3
    assert {each["parent"] for each in told} == {running.pid}
    assert all(each["imported"] for each in told)
    wait_for(lambda: not any(psutil.pid_exists(each["pid"]) for each in told))  # they are not left as zombies
    assert running.poll() is None


def test_it_ends_with_its_superexec_so_that_both_are_started_again(running: subprocess.Popen[str]) -> None:
    superexec = wait_for(lambda: [c for c in psutil.Process(running.pid).children() if c.name() == "sleep"])[0]
    superexec.kill()
    assert running.wait(60) == 1
    assert running.stdout is not None
    assert "flower-superexec ended with exit status -9" in running.stdout.read()


@pytest.mark.skipif(sys.platform != "linux", reason="the tie to a parent's end is Linux's")
def test_the_superexec_ends_with_it(running: subprocess.Popen[str]) -> None:
    superexec = wait_for(lambda: [c for c in psutil.Process(running.pid).children() if c.name() == "sleep"])[0]
    running.kill()
    running.wait()
    wait_for(lambda: not superexec.is_running() or superexec.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("left_over", [True, False])
def test_where_nobody_reads_the_requests_flowers_own_program_is_run(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, left_over: bool
) -> None:
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    program = make_program(tmp_path, tmp_path / FIFO)
    if left_over:
        os.mkfifo(tmp_path / FIFO)
    place = tmp_path / "asked"
    subprocess.run([program, str(place), "--token", "x"], check=True, timeout=60)
    assert place.read_text() == f"{place} --token x\n"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
