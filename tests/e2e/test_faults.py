"""What can go wrong in a consortium, done to real processes; each test says what was lost: nothing.

A run that was disturbed has to end with the weights of the same experiment in an undisturbed simulation, bit by bit,
with every hospital in every round. Only where a hospital is late or spoils its updates by intent is it left out, by
name, and for those rounds alone.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.ground.events import read_events
from fedthorax.server.checkpoints import Checkpoints

from ..small_disk import small_disk
from ..waiting import wait_for
from .consortium import Cable, Consortium, consortium, models_in
from .same_bits import proof

pytestmark = pytest.mark.slow

HOSPITALS = ("north", "south")
ROUND_SECONDS = 8.0  # about what a round takes on an idle machine; the random moments lie in it


@pytest.fixture(scope="module")
def place(workplace, tmp_path_factory) -> Iterator[Consortium]:
    with consortium(tmp_path_factory.mktemp("f"), workplace.folder / "data", HOSPITALS) as one:
        yield one


@pytest.fixture(scope="module")
def undisturbed(workplace, simulated) -> dict:
    return proof(workplace.folder / "runs" / "tiny", led=True)


@pytest.fixture(autouse=True)
def no_run_goes_on(place) -> Iterator[None]:
    """A test that failed has left its run going, which would disturb the next one."""
    yield
    for folder in (place.folder / "runs").glob("*"):
        if (folder / "metrics.json").is_file() and place.metrics(folder.name)["status"] == "running":
            with contextlib.suppress(AssertionError):  # Flower has ended it already
                place.lead("run", "--stop", folder.name)


@pytest.fixture
def own_disk(place) -> Iterator[Path]:
    """South's folder on a small file system of its own."""
    folder = place.site("south")
    place.stop("south")
    kept = folder.rename(folder.with_name("south-kept"))
    no_sockets = shutil.ignore_patterns("*.sock")
    without_earlier_runs = shutil.ignore_patterns("*.sock", "results")  # they fill a small disk by themselves
    try:
        with small_disk(folder, 150):
            shutil.copytree(kept, folder, dirs_exist_ok=True, ignore=without_earlier_runs)
            place.start_site("south")
            place.wait_connected()
            yield folder
            place.stop("south")
            shutil.copytree(folder, kept, dirs_exist_ok=True, ignore=no_sockets)
    finally:
        kept.rename(folder)
        place.start_site("south")
        place.wait_connected()


def begin(place: Consortium, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    options = ("--name", name, "--folder", str(place.folder), "--set", "federation.ask_after_s=20", *arguments)
    return place.start("run", "tiny.yaml", *options, told=f"{name}.txt")


def go_on(place: Consortium, name: str) -> subprocess.Popen[bytes]:
    return place.start("run", "--resume", name, "--folder", str(place.folder), told=f"{name}.txt")


def end(place: Consortium, process: subprocess.Popen[bytes], name: str, expect: int = 0) -> str:
    """What the command said from its beginning, once it has ended as expected."""
    try:
        code = process.wait(600)
    finally:
        process.kill()
    assert code == expect, place.told(f"{name}.txt")
    return place.told(f"{name}.txt")


def wait_working(place: Consortium, name: str, number: int, since: float = 0.0) -> None:
    """Until a hospital works in round ``number`` of the run as it was started after ``since``."""

    def working() -> bool:
        present = -1
        for event in place.events(name):
            if event["kind"] == "server" and event["time"] >= since:
                present = event["round"]
            elif event["kind"] == "hospital" and event["state"] == "working" and present == number:
                return True
        return False

    wait_for(working, f"round {number} of {name}", 900)


def nothing_was_lost(place: Consortium, name: str, undisturbed: dict) -> None:
    metrics = place.metrics(name)
    assert metrics["status"] == "finished"
    assert [(entry["round"], entry["failures"]) for entry in metrics["rounds"]] == [(n, []) for n in range(4)]
    for entry in metrics["rounds"][1:]:
        assert all(entry["sites"][site]["train"] for site in HOSPITALS)
    found = proof(place.run_folder(name), led=True)
    assert {part: found[part] for part in ("weights", "models")} == {p: undisturbed[p] for p in ("weights", "models")}
    place.verify_logs(name)


@pytest.mark.parametrize(
    ("owner", "what", "seed"),
    [
        ("south", "worker", 1),
        ("south", "clientapp", 2),
        ("south", "supernode", 3),
        ("south", "carrier", 7),
        ("lead", "gateway", 4),
    ],
)
def test_who_is_killed_comes_back_by_itself_and_nothing_is_lost(place, undisturbed, owner, what, seed):
    name, moment = f"killed-{what}", random.Random(seed)
    process = begin(place, name)
    for number in (1, 2):
        wait_working(place, name, number)
        time.sleep(moment.uniform(0, ROUND_SECONDS))
        place.kill(owner, what)
    end(place, process, name)
    nothing_was_lost(place, name, undisturbed)


@pytest.mark.parametrize(("what", "seed"), [("serverapp", 5), ("superlink", 6)])
def test_a_run_whose_server_is_killed_says_so_and_goes_on_to_the_same_bits(place, undisturbed, what, seed):
    name, moment = f"killed-{what}", random.Random(seed)
    process, since = begin(place, name), time.time()
    for number in (1, 2):
        wait_working(place, name, number, since)
        time.sleep(moment.uniform(0, ROUND_SECONDS))
        place.kill("lead", what)
        said = end(place, process, name, expect=1)
        assert f"go on with `fedthorax run --resume {name}`" in said
        wait_for(lambda: place.pid("lead", "superlink"), "the SuperLink to be started again")
        since = time.time()
        process = go_on(place, name)
    end(place, process, name)
    assert len(place.metrics(name)["resumed"]) == 2
    nothing_was_lost(place, name, undisturbed)


def wait_passing(place: Consortium, stage: str, since: float) -> None:
    """Until some, and not all, bytes of south's model (fetch) or update (send) are through; told after ``since``."""

    def passing() -> bool:
        told = read_events(place.site("south") / "run" / "events.jsonl")[0]
        newest = next((event for event in reversed(told) if event["kind"] == "site"), None)
        return (
            newest is not None
            and (newest["stage"], newest["time"] > since) == (stage, True)
            and 0 < newest["done"] < newest["total"]
        )

    wait_for(passing, f"bytes of {stage}", 900)


@contextlib.contextmanager
def slow_line(place: Consortium, bytes_per_second: float, delay: float = 0.0) -> Iterator[Cable]:
    cable = place.cables["south"]
    cable.bytes_per_second, cable.delay = bytes_per_second, delay
    try:
        yield cable
    finally:
        cable.bytes_per_second, cable.delay = None, 0.0


def test_whoever_is_killed_while_a_model_or_an_update_passes_nothing_is_lost(place, undisturbed):
    name = "killed-passing"
    with slow_line(place, 400_000):
        process, since = begin(place, name), time.time()
        for owner, what, stage in (
            ("south", "carrier", "fetch"),
            ("lead", "gateway", "fetch"),
            ("south", "carrier", "send"),
            ("lead", "gateway", "send"),
            ("south", "worker", "send"),
            ("south", "supernode", "send"),
        ):
            wait_passing(place, stage, since)
            place.kill(owner, what)
            since = time.time()
        for what, stage in (("serverapp", "send"), ("superlink", "fetch")):
            wait_passing(place, stage, since)
            place.kill("lead", what)
            end(place, process, name, expect=1)
            wait_for(lambda: place.pid("lead", "superlink"), "the SuperLink to be started again")
            since = time.time()
            process = go_on(place, name)
    end(place, process, name)
    nothing_was_lost(place, name, undisturbed)


def test_a_line_that_is_cut_for_half_a_minute_in_an_upload_goes_on_with_hardly_a_byte_sent_twice(place, undisturbed):
    name = "cut-passing"
    with slow_line(place, 20e6 / 8, 0.05) as cable:
        before = cable.passed["up"]
        process, since = begin(place, name), time.time()
        wait_passing(place, "send", since)
        cable.sever()
        time.sleep(30)  # what is tested: an outage of so long
        cable.mend()
        end(place, process, name)
    nothing_was_lost(place, name, undisturbed)
    updates = sum(event["total"] for event in last_of_each_upload(place))
    # In flight: what is on the line for 50 ms, and what the machines at both ends hold; the rest are messages.
    assert cable.passed["up"] - before < updates + 1_000_000


def last_of_each_upload(place: Consortium) -> list[dict]:
    told = read_events(place.site("south") / "run" / "events.jsonl")[0]
    return [event for event in told if event.get("stage") == "send" and event["done"] == event["total"]]


def test_who_stops_watching_comes_back_and_who_stops_the_run_goes_on_with_it(place, undisturbed):
    name = "stopped"
    process = begin(place, name)
    wait_working(place, name, 1)
    process.send_signal(signal.SIGINT)
    said = end(place, process, name, expect=130)
    assert f"the run goes on; come back with: fedthorax run --follow {name}" in said
    follower = place.start("run", "--follow", name, "--folder", str(place.folder), told="follower.txt")
    wait_working(place, name, 2)
    place.lead("run", "--stop", name)
    assert "stopped" in end(place, follower, "follower", expect=1)
    end(place, go_on(place, name), name)
    nothing_was_lost(place, name, undisturbed)


def test_a_cut_line_is_waited_for_and_said_once(place, undisturbed):
    name = "cut"
    process = begin(place, name)
    wait_working(place, name, 1)
    told, since = len(place.told("south.txt")), time.time()
    place.cables["south"].sever()

    def missed() -> bool:
        states = [e["state"] for e in place.events(name) if e["kind"] == "hospital" and e["time"] > since]
        return "waiting" in states

    wait_for(missed, "the server to miss the hospital")
    wait_for(lambda: "cannot be reached" in place.told("south.txt")[told:], "the hospital to miss the server")
    place.cables["south"].mend()
    end(place, process, name)
    nothing_was_lost(place, name, undisturbed)
    assert place.told("south.txt")[told:].count("cannot be reached") == 1


def test_a_hospital_past_the_deadline_is_left_out_by_name_and_is_back_in_the_next_round(place):
    name = "slow"
    limits = ("--set", "federation.round_timeout_s=90", "--set", "federation.min_sites=1")
    place.wait_connected()  # or south would join in round 1 only
    process = begin(place, name, *limits)
    wait_working(place, name, 1)
    worker = place.pid("south", "worker")
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    try:

        def closed() -> bool:
            return any(event["kind"] == "round" and event["round"] == 1 for event in place.events(name))

        wait_for(closed, "round 1 to be closed without south")
    finally:
        os.kill(worker, signal.SIGCONT)
    said = end(place, process, name)
    assert "round 1 went on without south" in said
    rounds = place.metrics(name)["rounds"]
    (failure,) = rounds[1]["failures"]
    assert (failure["site"], failure["stage"]) == ("south", "train")
    assert "deadline" in failure["reason"]
    assert rounds[1]["sites"]["north"]["train"]
    assert rounds[-1]["sites"]["south"]["train"]
    report = (place.run_folder(name) / "report.html").read_text()
    assert "south" in report[: report.index("deadline")]
    place.verify_logs(name)


def test_a_worker_that_stands_still_is_ended_and_nothing_is_lost(place, undisturbed):
    name = "still"
    process = begin(place, name)
    wait_working(place, name, 2)
    worker = place.pid("south", "worker")
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    said = end(place, process, name)
    assert "failed" not in said
    assert "the worker has not answered for 120 s and is ended" in place.told("south.txt")
    nothing_was_lost(place, name, undisturbed)


def test_a_hospital_whose_disk_takes_no_file_says_so_and_is_back_once_it_does(place, own_disk):
    name, filler = "disk-full", own_disk / "filler"

    def failed() -> bool:
        return any(event["kind"] == "failure" and event["site"] == "south" for event in place.events(name))

    phase = "training.phases=[{rounds: 8, trainable: all, learning_rate: 1e-3}]"
    told = len(place.told("south.txt"))
    process = begin(place, name, "--set", phase, "--set", "federation.min_sites=1")
    wait_working(place, name, 1)
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    try:
        wait_for(failed, "south to fail")
    finally:
        filler.unlink()
    # Which file was the first that the disk did not take is chance.
    words = r"(cannot write down what leaves, so nothing does|'s own disk takes no file): No space left on device"
    assert re.search(f"south failed: the hospital ?{words}", end(place, process, name))
    here = place.told("south.txt")[told:]
    assert re.search(
        r"(what leaves cannot be written down, so nothing does|the hospital's own disk takes no file):", here
    )
    rounds = place.metrics(name)["rounds"]
    assert {failure["site"] for entry in rounds for failure in entry["failures"]} == {"south"}
    assert all(entry["sites"]["north"]["train"] for entry in rounds[1:])
    assert rounds[-1]["sites"]["south"]["train"]
    place.verify_logs(name)


def test_a_hospital_that_is_away_at_the_end_gets_its_models_when_it_is_back(place):
    name = "away"
    limits = ("--set", "federation.connect_timeout_s=20", "--set", "federation.min_sites=1")
    place.wait_connected()
    process = begin(place, name, *limits)
    wait_working(place, name, 3)
    place.stop("south")
    said = end(place, process, name)
    command = f"fedthorax run --deliver {name}"
    assert f"without models and report: south; once they are back: {command}" in " ".join(said.split())
    assert "still without models and report: south" in place.lead("run", "--deliver", name, expect=1)
    place.start_site("south")
    place.wait_connected()
    assert "every hospital has its models and its report" in place.lead("run", "--deliver", name)
    assert models_in(place.site("south") / "results" / name) == place.models(name)
    assert (place.site("south") / "results" / name / "report.html").is_file()
    metrics = place.metrics(name)
    assert metrics["status"] == "finished"
    missed = [f["reason"] for f in metrics["rounds"][-1]["failures"] if f["stage"] == "finish"]
    assert len(missed) == 2  # at the end, and when it was tried too early
    assert all(reason.endswith("; delivered later") for reason in missed)
    assert place.lead("run", "--deliver", name) == "every hospital has its models and its report\n"
    place.verify_logs(name)


def test_a_hospital_that_keeps_small_counts_takes_part_in_a_run_with_a_report(place, undisturbed):
    name = "small-counts"
    settings = place.site("south") / "site.yaml"
    before = settings.read_text()
    assert "smallest_count: 0" in before
    place.stop("south")
    settings.write_text(before.replace("smallest_count: 0", "smallest_count: 8"))
    place.start_site("south")
    try:
        place.wait_connected()
        end(place, begin(place, name), name)
    finally:
        place.stop("south")
        settings.write_text(before)
        place.start_site("south")
    nothing_was_lost(place, name, undisturbed)
    scores = place.metrics(name)["rounds"][1]["sites"]["south"]["valid"]
    for row in (*scores["disease"]["per_finding"].values(), *scores["cancer"]["per_class"].values()):
        assert row["support"] is None or row["support"] >= 8
        assert row["roc_auc"] is not None or row["reasons"]["roc_auc"]
    assert "Fewer than 8 images" in (place.run_folder(name) / "report.html").read_text()
    place.wait_connected()


def test_spoilt_updates_are_refused_one_by_one_and_the_honest_ones_of_the_same_hospital_count(place, tmp_path):
    name = "spoilt"
    shutil.copy(Path(__file__).with_name("altered_site.py"), tmp_path / "sitecustomize.py")
    spoil = {"3": "huge", "4": "nan", "5": "name", "6": "pairs", "7": "foreign"}
    place.stop("south")
    place.start_site("south", {"PYTHONPATH": str(tmp_path), "FEDTHORAX_TEST_SPOIL": json.dumps(spoil)})
    try:
        place.wait_connected()
        phase = "training.phases=[{rounds: 8, trainable: all, learning_rate: 1e-3}]"
        rules = "federation={min_sites: 1, unusual_updates: refuse}"
        end(place, begin(place, name, "--set", phase, "--set", rules), name)
    finally:
        place.stop("south")
        place.start_site("south")
    rounds = place.metrics(name)["rounds"]
    reasons = {entry["round"]: failure["reason"] for entry in rounds for failure in entry["failures"]}
    assert {failure["site"] for entry in rounds for failure in entry["failures"]} == {"south"}
    assert sorted(reasons) == [3, 4, 5, 6, 7]
    assert re.search("moves a value of .* by 10, but", reasons[3])
    assert "not finite" in reasons[4]
    assert "claims to be train of north" in reasons[5]
    assert "10000 pairs" in reasons[6]
    assert "another" in reasons[7]
    assert all(entry["sites"]["north"]["train"] for entry in rounds[1:])
    assert rounds[8]["sites"]["south"]["train"]
    last = Checkpoints(place.run_folder(name) / "checkpoints", 1).latest()[0].weights
    assert all(np.isfinite(values).all() for values in last.values())
    place.verify_logs(name)
    place.wait_connected()
