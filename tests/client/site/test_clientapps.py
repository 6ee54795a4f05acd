"""ClientApps are forked from a process that has imported everything, and each is a process of its own."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from flwr.supercore.superexec.executor import subprocess_executor

import fedthorax
from fedthorax.client.site import clientapps, supernode_process

from ...waiting import wait_for

# Stands in for Flower's SuperExec and ClientApp: the SuperExec starts one when it has slept, and stays; a ClientApp
# writes down who it is, and what it finds imported.
PROGRAM = """
import importlib, json, os, sys, types
def clientapp():
    with open(sys.argv[1], "w") as file:
        imported = "fedthorax.client_app" in sys.modules
        json.dump({"pid": os.getpid(), "parent": os.getppid(), "argv": sys.argv, "imported": imported}, file)
    os.rename(sys.argv[1], sys.argv[1] + ".done")
    sys.exit(int(sys.argv[2]))
def superexec():
    loop = importlib.import_module("flwr.supercore.superexec.run_superexec")
    from flwr.supercore.superexec.executor import subprocess_executor
    for place in sys.argv[1:]:
        subprocess_executor.subprocess.Popen(["flwr-clientapp", place, "3"])
        loop.time.sleep(600)
for name, function, value in (
    ("flwr.supernode.cli", "flwr_clientapp", clientapp),
    ("flwr.supercore.cli.flower_superexec", "flower_superexec", superexec),
):
    sys.modules[name] = types.ModuleType(name)
    setattr(sys.modules[name], function, value)
from fedthorax.client.site import clientapps
clientapps.main()
"""


@pytest.fixture
def bell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "task.bell"
    file.touch()
    monkeypatch.setenv(clientapps.TASK_BELL, str(file))
    return file


@pytest.fixture
def running(tmp_path: Path, bell: Path) -> Iterator[subprocess.Popen[str]]:
    source = Path(fedthorax.__file__).parents[1]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a"), str(tmp_path / "b")]
    environment = os.environ | {"PYTHONPATH": str(source)}
    process = subprocess.Popen(command, env=environment, text=True, start_new_session=True)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def told(tmp_path: Path, at: str) -> dict[str, Any]:
    place = tmp_path / f"{at}.done"
    found: dict[str, Any] = json.loads(wait_for(lambda: place.read_text() if place.exists() else ""))
    return found


def test_every_task_gets_a_process_of_its_own_that_has_nothing_left_to_import(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    first = told(tmp_path, "a")
    wait_for(lambda: not psutil.pid_exists(first["pid"]))  # it is not left as a zombie
    assert not (tmp_path / "b.done").exists()  # nobody has rung
    supernode_process.ring()
    second = told(tmp_path, "b")
    for at, each in (("a", first), ("b", second)):
        assert (each["argv"], each["parent"]) == (["flwr-clientapp", str(tmp_path / at), "3"], running.pid)
        assert each["imported"]
    assert len({running.pid, first["pid"], second["pid"]}) == 3
    supernode_process.ring()
    assert running.wait(300) == 0  # it ends with its SuperExec, so that both are started again


def test_a_ring_before_the_question_is_not_missed_and_without_one_it_is_asked_as_often_as_flower_asks(
    bell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    moment = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        moment[0] += seconds

    monkeypatch.setattr(clientapps.time, "sleep", sleep)
    monkeypatch.setattr(clientapps.time, "monotonic", lambda: moment[0])
    clock = clientapps.Clock()
    supernode_process.ring()
    clock.sleep(3)
    assert slept == []
    clock.sleep(1)
    assert sum(slept) == pytest.approx(1, abs=clientapps.LOOK_S)
    bell.unlink()
    supernode_process.ring()  # to nobody
    clock.sleep(1)
    assert clientapps.last_ring() == 0


def test_flower_uses_of_both_modules_what_stands_in_their_place_and_no_more() -> None:
    loop = importlib.import_module("flwr.supercore.superexec.run_superexec")
    for module, name, used in ((loop, "time", {"sleep"}), (subprocess_executor, "subprocess", {"Popen", "DEVNULL"})):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert set(re.findall(rf"\b{name}\.(\w+)", source)) == used
