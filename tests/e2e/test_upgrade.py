"""New versions in the middle of a run: copies of the installation with another number, in real processes."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import fedthorax
from fedthorax import __version__

from ..waiting import wait_for
from .consortium import Consortium, consortium
from .same_bits import proof

pytestmark = pytest.mark.slow

HOSPITALS = ("north", "south")
ROOMS = ("fedthorax", "common", "client", "server", "simulations")
FIRST, SECOND, _ = __version__.split(".")
PATCH, MINOR = f"{FIRST}.{SECOND}.99", f"{FIRST}.{int(SECOND) + 1}.0"


@pytest.fixture
def place(workplace, tmp_path: Path) -> Iterator[Consortium]:
    with consortium(tmp_path / "place", workplace.folder / "data", HOSPITALS) as one:
        yield one


def installed(version: str, tmp_path: Path) -> Mapping[str, str]:
    """The environment of a process that runs this software under another number."""
    package = Path(fedthorax.__file__).parent
    inside = (package / "common").is_dir()  # as in a wheel
    for room in ("fedthorax",) if inside else ROOMS:
        source = package if room == "fedthorax" else package.parent / room
        shutil.copytree(source, tmp_path / version / room, ignore=shutil.ignore_patterns("__pycache__"))
    init = tmp_path / version / "fedthorax" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', f'"{version}"'))
    return {"PYTHONPATH": str(tmp_path / version)}


def begin(place: Consortium, name: str, *more: str, environment: Mapping[str, str] | None = None):
    options = ("--folder", str(place.folder), "--set", "federation.ask_after_s=20", *more)
    return place.start("run", "tiny.yaml", "--name", name, *options, told=f"{name}.txt", environment=environment)


def wait_closed(place: Consortium, name: str, number: int) -> None:
    def closed() -> bool:
        return any(event["kind"] == "round" and event["round"] == number for event in place.events(name))

    wait_for(closed, f"the end of round {number} of {name}", 900)


def move(place: Consortium, south: Mapping[str, str]) -> None:
    place.stop("south")
    place.start_site("south", south)
    place.wait_connected()


def test_lead_and_one_hospital_change_the_last_number_between_two_rounds_and_reach_the_same_bits(
    place: Consortium, workplace, simulated, tmp_path: Path
) -> None:
    newer = installed(PATCH, tmp_path)
    run = begin(place, "patched")
    wait_closed(place, "patched", 1)
    place.lead("run", "--stop", "patched")
    assert run.wait(300) == 1
    place.stop("lead")
    place.start_server(newer)
    move(place, newer)
    checked = place.command("site", "check", "--folder", str(place.site("north")))
    assert f"warning version: FedThorax {__version__} here, {PATCH} at the server" in checked
    options = ("--folder", str(place.folder))
    resumed = place.start("run", "--resume", "patched", *options, told="patched.txt", environment=newer)
    assert resumed.wait(900) == 0, place.told("patched.txt")
    assert place.metrics("patched")["status"] == "finished"
    hospitals = json.loads(place.lead("server", "status", "--json"))["hospitals"]
    here = {hospital["name"]: hospital["software_version"] for hospital in hospitals}
    assert here == {"south": PATCH, "north": __version__}
    found, expected = (
        proof(run, led=True) for run in (place.run_folder("patched"), workplace.folder / "runs" / "tiny")
    )
    assert {part: found[part] for part in ("weights", "models")} == {p: expected[p] for p in ("weights", "models")}
    place.verify_logs("patched")


def test_a_hospital_that_changes_the_second_number_is_told_so_and_left_out_of_the_next_run(
    place: Consortium, tmp_path: Path
) -> None:
    newer = installed(MINOR, tmp_path)
    move(place, newer)
    asked = place.start("site", "check", "--folder", str(place.site("south")), told="check.txt", environment=newer)
    assert asked.wait(300) == 2
    said = " ".join(place.told("check.txt").split())
    assert f"PROBLEM version: FedThorax {MINOR} here, {__version__} at the server" in said
    run = begin(place, "mixed", "--set", "federation.min_sites=1")
    assert run.wait(900) == 0, place.told("mixed.txt")
    words = f"runs FedThorax {MINOR}, but the server runs {__version__}; install version {FIRST}.{SECOND} there"
    assert words in " ".join(place.told("mixed.txt").split())
    rounds = place.metrics("mixed")["rounds"]
    assert all("south" not in entry["sites"] or not entry["sites"]["south"]["train"] for entry in rounds)
