"""A lead whose disk is really full in the middle of a run: a small file system of its own, filled to its last block."""

import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ..small_disk import small_disk
from ..waiting import wait_for
from .consortium import Consortium, consortium, models_in

pytestmark = pytest.mark.slow

HOSPITALS = ("north", "south")
NAME = "chest"


@pytest.fixture
def place(workplace, tmp_path: Path) -> Iterator[Consortium]:
    """The lead's folder is a disk of 150 MB."""
    place = tmp_path / "place"
    with small_disk(place / "lead", 150), consortium(place, workplace.folder / "data", HOSPITALS) as one:
        yield one


def fill(disk: Path) -> Path:
    """Take every block that is left."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def starts_runs(place: Consortium) -> bool:
    try:
        children = psutil.Process(place.pid("lead", "superlink") or 0).children()
        return any(Path(word).name == "flower-superexec" for child in children for word in child.cmdline()[:2])
    except psutil.Error:
        return False


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_lead_whose_disk_fills_reads_why_everywhere_and_goes_on_to_the_same_bits(
    place: Consortium, workplace, simulated
) -> None:
    options = ("--name", NAME, "--folder", str(place.folder), "--set", "federation.ask_after_s=20")
    run = place.start("run", "tiny.yaml", *options, told="run.txt")

    def trains() -> bool:
        return any(event["kind"] == "round" and event["round"] == 0 for event in place.events(NAME))

    wait_for(trains, "round 1", 900)
    ballast = fill(place.folder)
    assert run.wait(600) == 1, place.told("run.txt")
    full = r"the disk is full \(\S*: \d+ KiB free\): make room"
    reason = rf"error: {NAME} failed: {full}, and go on with --resume"
    assert re.search(reason, one_line(place.told("run.txt"))), place.told("run.txt")
    told = place.metrics(NAME)  # the file itself, for which room was kept
    assert (told["status"], bool(re.search(full, told["error"]))) == ("failed", True), told["error"]
    fill(place.folder)  # that room, too
    assert re.search(f"{full}; runs stand still or fail", one_line(place.told("lead.txt")))
    assert re.search(f"{full}; runs stand still or fail", one_line(place.lead("server", "status", expect=1)))
    assert re.search(reason, one_line(place.lead("run", "--follow", NAME, expect=1)))
    assert re.search(f"error: {full}", one_line(place.lead("run", "tiny.yaml", "--name", "next", expect=1)))
    assert re.search(full, one_line(place.lead("run", "--resume", NAME, expect=1)))
    ballast.unlink()
    assert re.search(reason, one_line(place.lead("run", "--follow", NAME, expect=1)))  # with room again it is still why
    wait_for(lambda: starts_runs(place), "a SuperLink that starts runs")  # what does so may not have outlived it
    place.wait_connected()
    said = place.lead("run", "--resume", NAME, seconds=900)
    assert place.metrics(NAME)["status"] == "finished", said
    assert place.models(NAME) == models_in(workplace.folder / "runs" / "tiny")
    place.verify_logs(NAME)
