"""A run that is killed, again and again, and goes on: nothing is lost, not a bit."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import keras
import pytest

from fedthorax.common.ground.audit import verify
from fedthorax.common.model.segments import SegmentLayout, weights_digest

pytestmark = pytest.mark.ci


def digest(model_file: Path) -> str:
    return weights_digest(SegmentLayout(keras.models.load_model(model_file, compile=False)).read())


def measured(metrics: dict) -> dict:
    """What a run measured, less what depends on the clock and on the load of the machine."""
    kept = ("labels", "central", "rounds", "best_round", "selection", "stopped_early", "test", "sites")
    text = json.dumps({name: metrics[name] for name in kept})
    return json.loads(re.sub(r'"(seconds|bytes_sent|bytes_received)": [0-9.e+-]+', r'"\1": 0', text))


def kill_when(workplace, process: subprocess.Popen, name: str, *patterns: str) -> None:
    """Wait until the events since the start of ``process`` show one of the patterns, then kill -9 it."""
    events = workplace.folder / "runs" / name / "events.jsonl"
    old = len(events.read_text()) if events.exists() else 0
    deadline = time.monotonic() + 180
    while not (events.exists() and any(re.search(pattern, events.read_text()[old:]) for pattern in patterns)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def end_orphans(folder: Path) -> None:
    """What the killed process had started works on; nobody waits for it, and it must not disturb the next one."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


@pytest.fixture
def clean_up(workplace):
    """Ray's session folders and processes of the killed runs."""
    before = set(Path("/tmp").glob("fedthorax-*"))
    yield
    end_orphans(workplace.folder)
    for home in set(Path("/tmp").glob("fedthorax-*")) - before:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_a_run_that_is_killed_three_times_ends_with_the_same_bits(workplace, simulated, clean_up):
    start = ("simulate", "tiny.yaml", "--name", "killed")
    run = workplace.folder / "runs" / "killed"

    kill_when(workplace, workplace.start(*start), "killed", r'"stage": "load"')  # before anything was learnt
    process = workplace.start(*start, "--resume")
    kill_when(workplace, process, "killed", r'"stage": "train", "done": [1-9]')  # within round 1
    process = workplace.start(*start, "--resume")
    kill_when(workplace, process, "killed", r'"kind": "round", "round": 2')  # between two rounds
    newest = sorted(run.glob("checkpoints/round-*.npz"))[-1]
    assert newest.name == "round-0002.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])

    ended = workplace.run(*start, "--resume")
    assert "damaged checkpoint" in ended.stdout
    assert "resumed after round 1" in ended.stdout
    for kind in ("best", "last"):
        undisturbed = workplace.folder / "runs" / "tiny" / "model" / f"{kind}.keras"
        assert digest(run / "model" / f"{kind}.keras") == digest(undisturbed)
    killed, undisturbed = workplace.metrics("killed"), workplace.metrics("tiny")
    assert measured(killed) == measured(undisturbed)
    assert [entry["after_round"] for entry in killed["resumed"]] == [0, 1]
    assert killed["status"] == "finished"
    verify(run / "audit.jsonl")


def test_a_finished_run_has_nothing_to_go_on_with(workplace, simulated):
    refused = workplace.run("simulate", "tiny.yaml", "--resume", expect=1)
    assert "runs/tiny has finished after round 3; there is nothing to go on with" in refused.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.encoder_units=32", "model.encoder_units is 32, was 64"),
        ("labels.findings=[Effusion]", "labels.findings is ['Effusion'], was ['Cardiomegaly'"),
        ("seed=6", "seed is 6, was 5"),
    ],
)
def test_another_experiment_is_refused_and_the_keys_named(workplace, simulated, change, words):
    refused = workplace.run("simulate", "tiny.yaml", "--resume", "--set", change, expect=1)
    assert "cannot be resumed with another experiment: " + words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert workplace.metrics("tiny")["status"] == "finished"


def test_what_is_not_there_cannot_be_resumed(workplace):
    refused = workplace.run("simulate", "tiny.yaml", "--resume", "--name", "never-begun", expect=1)
    assert "never-begun holds no run that could be resumed; start it without --resume" in refused.stderr
    assert not (workplace.folder / "runs" / "never-begun").exists()


@pytest.fixture
def small_disk(workplace):
    """A file system that takes one checkpoint and not two, and can be made larger; needs root."""
    disk = workplace.folder / "small-disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_when_there_is_room(workplace, simulated, small_disk):
    start = ("simulate", "tiny.yaml", "--set", f"output.folder={small_disk}")
    failed = workplace.run(*start, expect=1)
    (line,) = failed.stderr.splitlines()
    assert "round-0001.npz cannot be written: No space left on device" in line
    assert line.endswith("the newest whole checkpoint is of round 0; make room, and go on with --resume")
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    workplace.run(*start, "--resume")
    undisturbed = workplace.folder / "runs" / "tiny" / "model" / "last.keras"
    assert digest(small_disk / "tiny" / "model" / "last.keras") == digest(undisturbed)
