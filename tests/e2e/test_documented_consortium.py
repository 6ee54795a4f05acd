"""What the documents print for a lead and two hospitals is run as it is printed, with the default network, in real
processes. One walk from the consortium's first file to a run that is made again after its SuperLink was killed."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ..documented import documented, missing
from ..waiting import free_port, wait_for
from .shell import Shell, interrupted, said, shell

__all__ = ["shell"]
pytestmark = pytest.mark.slow

CHEST = """\
name: chest
labels:
  findings: [Cardiomegaly, Effusion, Pneumothorax, Nodule, Consolidation, Atelectasis]
  cancer_classes: [adenocarcinoma, large.cell.carcinoma, normal, squamous.cell.carcinoma]
data:
  hospitals: {St. Anna: , north: }
  central: {xray: images/central/xray, ct: images/central/ct}
model: {weights: none, batch_norm: train, image_size: 32}
training:
  phases:
    - {rounds: 2, trainable: all, learning_rate: 3e-3, local_epochs: 2}
    - {rounds: 1, trainable: heads, learning_rate: 1e-3}
evaluation: {bootstrap_samples: 50, views: 2}
"""
SHOWN = [line for line, one in documented().items() if one.shown and one.page in ("consortium.md", "hospital.md")]


class Walk:
    """A folder for the lead, ``anna`` and ``north``; ``told`` is by command what it said."""

    def __init__(self, shell: Shell, place: Path) -> None:
        self.shell, self.told = shell, dict[str, str]()
        self.lead, self.anna, self.north = (place / name for name in ("lead", "anna", "north"))
        shell.run(f"fedthorax phantom {place}/drawn --hospitals 2 --patients 60 --size 48", place)
        for folder, images in ((self.lead, "."), (self.anna, "north"), (self.north, "south")):
            folder.mkdir()
            (folder / "images").symlink_to(place / "drawn" / images)
        (self.lead / "chest.yaml").write_text(CHEST)
        self.running: list[tuple[subprocess.Popen[bytes], Path, str]] = []

    def printed(
        self, line: str, folder: Path, put: dict[str, str] | None = None, more: str = "", answer: str = ""
    ) -> str:
        self.told[line] = self.shell.run(self._with(line, put) + more, folder, answer)
        return self.told[line]

    def started(self, line: str, folder: Path, put: dict[str, str] | None = None) -> "tuple[subprocess.Popen, Path]":
        told = folder / f"told-{len(self.running)}.txt"
        process = self.shell.start(self._with(line, put), folder, told)
        self.running.append((process, told, line))
        return process, told

    def heard(self) -> None:
        """What the started ones have said by now."""
        self.told |= {line: told.read_text(encoding="utf-8") for _, told, line in self.running}

    @staticmethod
    def _with(line: str, put: dict[str, str] | None) -> str:
        assert line in documented(), f"no document prints {line!r}"
        for old, new in (put or {}).items():
            assert old in line
            line = line.replace(old, new)
        return line


@pytest.fixture(scope="module")
def walk(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    one = Walk(shell, tmp_path_factory.mktemp("walk"))
    network = one.lead / "thorax-network"
    ports = f"address: 127.0.0.1:{free_port()}\nsuperlink_port: {free_port()}\n"
    (one.lead / "consortium.yaml").write_text(f"name: thorax-network\n{ports}")
    one.printed("fedthorax server init consortium.yaml", one.lead)
    server, told = one.started("fedthorax server start", one.lead)
    said(told, "is ready for hospitals", server)

    for folder in (one.anna, one.north):
        (folder / "invitation.json").write_bytes((network / "invitation.json").read_bytes())
    images = "--xray images/xray --ct images/ct --invitation invitation.json"
    one.shell.run(f"fedthorax site init --name north {images}", one.north)
    one.printed(
        'fedthorax site init --name "St. Anna" --xray images/xray --ct images/ct --invitation invitation.json', one.anna
    )
    anna, at_anna = one.started('fedthorax site start --folder "St. Anna"', one.anna)
    said(at_anna, "not let in", anna)
    for name, at in (("St. Anna", one.anna), ("north", one.north)):
        (one.lead / f"{name}.site.json").write_bytes((at / name / f"{name}.site.json").read_bytes())
    one.printed('fedthorax server admit "St. Anna.site.json"', one.lead)
    one.printed("fedthorax server admit north.site.json", one.lead)
    one.printed('fedthorax site check --folder "St. Anna"', one.anna)
    north, at_north = one.started("fedthorax site start", one.north / "north")
    said(at_north, "connected;", north)
    said(at_anna, "connected;", anna)

    run, told = one.started("fedthorax run chest.yaml", one.lead)
    said(at_anna, "waits for a person: fedthorax site approve chest", anna)
    said(at_north, "waits for a person: fedthorax site approve chest", north)
    one.printed('fedthorax site approve --folder "St. Anna"', one.anna)
    one.printed('fedthorax site approve chest --folder "St. Anna"', one.anna, answer="y\n")
    said(told, "St. Anna replied", run)
    one.printed("fedthorax server status", one.lead)
    one.printed("fedthorax site approve chest", one.north / "north", answer="y\n")
    assert run.wait(600) == 0, told.read_text()
    one.printed('fedthorax site log --folder "St. Anna"', one.anna)
    one.printed('fedthorax site log --verify --folder "St. Anna"', one.anna)
    one.printed('fedthorax site results --folder "St. Anna"', one.anna)
    one.printed("fedthorax server log --verify", one.lead)

    shell.environment |= {"FLWR_HOME": f"{network}/flwr", "FLWR_TELEMETRY_ENABLED": "0"}
    shell.environment |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "NO_COLOR": "1", "COLUMNS": "200"}
    one.printed("flwr list", one.lead)
    one.printed("flwr supernode list", one.lead)
    number = told.read_text().split("submitted chest as ")[1].split()[0]
    one.printed("flwr log RUN_ID", one.lead, {"RUN_ID": number})

    shell.environment["COLUMNS"] = "80"
    one.printed("fedthorax run runs/chest/config.yaml --name chest-again", network, more=" --detach")
    follower, told = one.started("fedthorax run --follow chest-again", one.lead)
    said(at_anna, "fedthorax site approve chest-again", anna)
    said(at_north, "fedthorax site approve chest-again", north)
    one.shell.run('fedthorax site approve chest-again --yes --folder "St. Anna"', one.anna)
    one.shell.run("fedthorax site approve chest-again --yes", one.north / "north")
    said(told, "round 1/3: north working", follower)
    os.kill(json.loads((network / "server.json").read_text())["services"]["superlink"], signal.SIGKILL)
    assert follower.wait(300) == 1, told.read_text()
    wait_for(lambda: at_anna.read_text().count("connected;") > 1 or "again" in at_anna.read_text(), "anna", 120)
    one.printed("fedthorax run --resume chest", network, {"chest": "chest-again"})
    one.printed("fedthorax replay runs/chest --against runs/chest-again", network)

    one.printed("fedthorax server renew", one.lead)
    one.printed('fedthorax site renew --folder "St. Anna"', one.anna)
    (one.lead / "new.site.json").write_bytes((one.anna / "St. Anna/St. Anna.site.json").read_bytes())
    one.shell.run("fedthorax server admit new.site.json", one.lead)
    one.printed('fedthorax site renew --switch --folder "St. Anna"', one.anna)
    one.printed('fedthorax site renew --invitation invitation.json --folder "St. Anna"', one.anna)
    one.printed('fedthorax site worker-certificates gpu.hospital.example --folder "St. Anna"', one.anna)
    for process in (north, anna, server):
        interrupted(process)
    one.heard()
    return one


@pytest.mark.parametrize("line", SHOWN)
def test_what_is_printed_is_what_is_shown(walk: Walk, line: str) -> None:
    assert missing(line, walk.told[line]) == [], walk.told[line]


def test_a_run_that_was_killed_has_the_bits_of_the_one_that_it_makes_again(walk: Walk) -> None:
    assert "the same" in walk.told["fedthorax replay runs/chest --against runs/chest-again"]


def test_flowers_own_commands_see_the_run(walk: Walk) -> None:
    assert "finished:completed" in walk.told["flwr list"]
    assert walk.told["flwr supernode list"].count("online") == 2
    assert "report.html" in walk.told["flwr log RUN_ID"]
