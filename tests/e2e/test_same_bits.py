"""One run, made in every way that there is: the same bits after every round, the same models, the same figures.

A row of the table is a way to make a run, and the settings of the simulation to which nothing happens.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..small_disk import small_disk
from .conftest import OWN_RUNS, Workplace, sets
from .same_bits import proof, undisturbed

pytestmark = pytest.mark.ci


def at_once(place: Workplace, name: str, *settings: str) -> Path:
    place.run("simulate", "tiny.yaml", "--name", name, *sets(settings))
    return place.folder / "runs" / name


def made_again(place: Workplace, ask: Any) -> Path:
    return at_once(place, "again")


def replayed(place: Workplace, ask: Any) -> Path:
    before = (place.folder / "runs" / "tiny" / "metrics.json").read_bytes()
    told = place.run("replay", "runs/tiny").stdout.splitlines()
    words = {"settings": "as they were", "versions": "as they were", "machine": "as it was", "data": "as they were"}
    assert told[:4] == [f"{what:<10}{said}" for what, said in words.items()]
    assert told[-1] == "runs/tiny and runs/tiny-replay: the same, bit by bit"
    assert any(line.startswith("weights   the same after every round; SHA-256 after round 3: ") for line in told)
    assert (place.folder / "runs" / "tiny" / "metrics.json").read_bytes() == before
    return place.folder / "runs" / "tiny-replay"


def in_a_consortium(place: Workplace, ask: Any, name: str = "tiny") -> Path:
    led = ask.getfixturevalue("led").place if name == "tiny" else ask.getfixturevalue("led_own")
    assert led.metrics(name)["mode"] == "consortium"
    return led.run_folder(name)


def packed_without_loss(place: Workplace, ask: Any) -> Path:
    run = at_once(place, "lossless", "federation.codec=lossless")
    packed, plain = place.metrics("lossless")["totals"], place.metrics("tiny")["totals"]
    assert packed["bytes_received"] < 0.9 * plain["bytes_received"]
    assert packed["bytes_sent"] < plain["bytes_sent"]
    return run


def own(strategy: str) -> tuple[str, str]:
    phase = "training.phases=[{rounds: 3, trainable: all, learning_rate: 3e-3}]"
    return f"federation.strategy={strategy}", phase


def begun_with_one_round(place: Workplace, ask: Any, strategy: str) -> Path:
    run = at_once(place, f"parted-{strategy}", *(one.replace("rounds: 3", "rounds: 1") for one in own(strategy)))
    place.run("simulate", "tiny.yaml", "--name", run.name, *sets(own(strategy)), "--resume")
    assert len(proof(run)["kept"]) == 2 * 3
    return run


def killed_three_times(place: Workplace, ask: Any) -> Path:
    """Before anything was learnt, within round 1, between two rounds; and the newest checkpoint is damaged."""
    ask.getfixturevalue("orphans_ended")
    start, run = ("simulate", "tiny.yaml", "--name", "killed"), place.folder / "runs" / "killed"
    end_when(place, place.start(*start), run, r'"stage": "load"')
    end_when(place, place.start(*start, "--resume"), run, r'"stage": "train", "done": [1-9]')
    end_when(place, place.start(*start, "--resume"), run, r'"kind": "round", "round": 2')
    told = resumed_from_the_round_before(place, run, start)
    assert "damaged checkpoint" in told
    assert [entry["after_round"] for entry in place.metrics("killed")["resumed"]] == [0, 1]
    return run


def stopped_with_rounded_updates(place: Workplace, ask: Any) -> Path:
    """So that the hospitals, too, go back by a round."""
    start = ("simulate", "tiny.yaml", "--set", "federation.codec=int4", "--name", "half")
    run = place.folder / "runs" / "half"
    end_when(place, place.start(*start), run, r'"kind": "round", "round": 2', signal.SIGINT)
    assert place.metrics("half")["status"] == "interrupted"
    resumed_from_the_round_before(place, run, start)
    return run


def out_of_disk(place: Workplace, ask: Any) -> Path:
    disk = ask.getfixturevalue("tiny_disk")
    start = ("simulate", "tiny.yaml", "--set", f"output.folder={disk}")
    (line,) = place.run(*start, expect=1).stderr.splitlines()
    assert "round-0001.npz cannot be written: No space left on device" in line
    assert line.endswith("the newest whole checkpoint is of round 0; make room, and go on with --resume")
    subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
    place.run(*start, "--resume")
    return Path(disk) / "tiny"


def resumed_from_the_round_before(place: Workplace, run: Path, start: tuple[str, ...]) -> str:
    newest = sorted(run.glob("checkpoints/round-*.npz"))[-1]
    assert newest.name == "round-0002.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])
    told = place.run(*start, "--resume").stdout
    assert "resumed after round 1" in told
    return told


def end_when(
    place: Workplace, process: subprocess.Popen, run: Path, pattern: str, number: int = signal.SIGKILL
) -> None:
    """Wait until the events since the start of ``process`` show the pattern, then send it the signal.

    While it lives it is waited for: on a busy machine a start alone takes minutes. What it has written is told where it
    ends or hangs."""
    events = run / "events.jsonl"
    old = len(events.read_text()) if events.exists() else 0
    deadline = time.monotonic() + 1200
    while not (events.exists() and re.search(pattern, events.read_text()[old:])):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, events.read_text()[old:] if events.exists() else "no event"
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=600)


@pytest.fixture
def orphans_ended(workplace: Workplace) -> Iterator[None]:
    """What a killed process had started works on, and nobody waits for it; and its Ray has left a folder."""
    before = set(Path("/tmp").glob("fedthorax-*"))
    yield
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(workplace.folder).encode() in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue
    for home in set(Path("/tmp").glob("fedthorax-*")) - before:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def tiny_disk(workplace: Workplace) -> Iterator[Path]:
    """It takes one checkpoint and not two, and can be made larger."""
    with small_disk(workplace.folder / "small-disk", 12) as disk:
        yield disk


def row(way: str, make: Any, *settings: str, led: bool = False, slow: bool = True) -> Any:
    return pytest.param(make, settings, led, id=way, marks=pytest.mark.slow if slow else ())


WAYS = [
    row("made again", made_again, slow=False),
    row("replayed", replayed, slow=False),
    row("in a consortium", in_a_consortium, led=True, slow=False),
    row("killed three times", killed_three_times),
    row("out of disk", out_of_disk),
    row("packed without loss", packed_without_loss),
    row("stopped with rounded updates", stopped_with_rounded_updates, "federation.codec=int4"),
    *(
        row(f"{s} begun with one round", partial(begun_with_one_round, strategy=s), *own(s))
        for s in ("fedbn", "scaffold")
    ),
    *(row(f"{n} in a consortium", partial(in_a_consortium, name=n), *s, led=True) for n, s in OWN_RUNS.items()),
]


@pytest.mark.parametrize(("make", "settings", "by_a_lead"), WAYS)
def test_a_run_has_the_same_bits_whichever_way_it_is_made(workplace, simulated, request, make, settings, by_a_lead):
    made = make(workplace, request)
    found = proof(made, by_a_lead)
    assert found == proof(undisturbed(workplace, *settings), by_a_lead)
    assert len(found["weights"]) == len(found["record"]["rounds"]) > 2


def test_another_seed_gives_other_weights_models_and_figures(workplace, simulated):
    other, one = (proof(undisturbed(workplace, *settings)) for settings in (("seed=6",), ()))
    assert not set(other["weights"].values()) & set(one["weights"].values())
    assert all(other["models"][name] != one["models"][name] for name in one["models"])
    assert other["record"]["rounds"] != one["record"]["rounds"]
