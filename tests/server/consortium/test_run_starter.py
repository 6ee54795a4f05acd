import contextlib
import signal
import subprocess
import sys

import psutil
import pytest

from fedthorax.server.consortium import run_starter as module
from fedthorax.server.consortium.run_starter import RunStarter

from ...waiting import wait_for


@pytest.fixture
def program(tmp_path):
    """Starts processes of Flower's names that do nothing, each with children of its own."""
    started = []
    wait = "import time, subprocess, sys\nchildren = [subprocess.Popen([sys.executable, c]) for c in sys.argv[2:]]\n"
    for name in ("flower-superlink", "flower-superexec", "flwr-serverapp"):
        (tmp_path / name).write_text(f"{wait}print('up', flush=True)\ntime.sleep(600)\n")

    def begin(name, *arguments):
        command = [sys.executable, tmp_path / name, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "up\n"
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                child.kill()
        process.kill()
        process.communicate()


def test_a_superlink_that_can_start_no_run_any_more_is_ended_once_no_run_goes_on_and_there_is_room(
    folder, program, tmp_path, monkeypatch
):
    told, settings, full = [], folder.settings(), ["full"]
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "full_disk", lambda path: full[0])
    starter = RunStarter(folder.path, settings.superlink_address, told.append)
    starter.tick()
    superlink = program("flower-superlink", "--host", str(tmp_path / "flower-superexec"))
    starter.watch(superlink.pid)
    starter.tick()
    (superexec,) = psutil.Process(superlink.pid).children()
    superexec.kill()
    wait_for(lambda: superexec.status() == psutil.STATUS_ZOMBIE)
    starter.tick()
    full[0] = None
    serverapp = program("flwr-serverapp", settings.superlink_address)
    starter.tick()
    assert (told, superlink.poll()) == ([], None)
    serverapp.kill()
    serverapp.wait()
    starter.tick()
    assert told == ["the SuperLink can start no run any more, perhaps since its disk was full: it is ended"]
    assert superlink.wait(10) == -signal.SIGTERM
    starter.tick()
    assert len(told) == 1
