"""The main path of a real consortium: a lead and two hospitals in folders of their own, every process a real one, TLS
and node authentication on. The same experiment has to give the same weights as in the simulation, bit by bit."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fedthorax.common.audit import verify

HOSPITALS = ("north", "south")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@contextlib.contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[None]:
    """``process`` and whatever it started are gone afterwards, and it had to end by itself when asked to."""
    try:
        yield
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=90)
        left = [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        _, left = psutil.wait_procs(left, timeout=20)
        for one in left:
            one.kill()
    assert process.returncode == 0, output + errors
    assert not left


@pytest.fixture(scope="module")
def ended(workplace, tmp_path_factory) -> Path:
    """The folder in which a lead's and two hospitals' folders lie after a run of the tiny experiment."""
    place = tmp_path_factory.mktemp("real")
    text = f"name: lead\naddress: 127.0.0.1:{free_port()}\nsuperlink_port: {free_port()}\n"
    (place / "consortium.yaml").write_text(text)
    lead = ("--folder", str(place / "lead"))
    workplace.run("server", "init", str(place / "consortium.yaml"), *lead)
    for name in HOSPITALS:
        data = workplace.folder / "data" / name
        site = ("--folder", str(place / name))
        invitation = str(place / "lead" / "invitation.json")
        images = ("--xray", str(data / "xray"), "--ct", str(data / "ct"))
        made = workplace.run("site", "init", "--name", name, *images, "--invitation", invitation, *site)
        fingerprint = re.search(r"SHA256:\S+", made.stdout)
        assert fingerprint
        settings = place / name / "site.yaml"
        settings.write_text(settings.read_text().replace("participation: ask", "participation: always"))
        file = str(place / name / f"{name}.site.json")
        workplace.run("server", "admit", file, "--fingerprint", fingerprint.group(), *lead)

    def connected() -> bool:
        listed = json.loads(workplace.run("server", "status", "--json", *lead).stdout)
        return [hospital["state"] for hospital in listed["hospitals"]] == ["connected", "connected"]

    with contextlib.ExitStack() as processes:
        processes.enter_context(running(workplace.start("server", "start", *lead)))
        for name in HOSPITALS:
            processes.enter_context(running(workplace.start("site", "start", "--folder", str(place / name))))
        wait_for(connected)
        workplace.run("run", "tiny.yaml", *lead)
    return place


def test_the_run_ends_with_the_weights_of_the_simulation_bit_by_bit(ended, workplace, simulated):
    there = json.loads((ended / "lead" / "runs" / "tiny" / "model" / "model.json").read_text())
    here = json.loads((workplace.folder / "runs" / "tiny" / "model" / "model.json").read_text())
    assert there["models"] == here["models"]


def test_scores_are_those_of_the_simulation(ended, workplace, simulated):
    there = json.loads((ended / "lead" / "runs" / "tiny" / "metrics.json").read_text())
    here = workplace.metrics("tiny")
    assert (there["mode"], there["status"]) == ("consortium", "finished")
    assert there["test"] == here["test"]
    for one, other in zip(there["rounds"], here["rounds"], strict=True):
        assert one["central"] == other["central"]
        assert one["failures"] == []
    assert (ended / "lead" / "runs" / "tiny" / "report.html").is_file()


def test_every_log_is_a_whole_chain(ended):
    for log in ("lead/audit.jsonl", "lead/runs/tiny/audit.jsonl", "north/egress.jsonl", "south/egress.jsonl"):
        verify(ended / log)


def test_every_hospital_has_the_models_and_a_report(ended):
    for name in HOSPITALS:
        found = {path.name for path in (ended / name / "results").rglob("*") if path.is_file()}
        assert {"best.keras", "last.keras", "report.html"} <= found, found


def test_no_private_key_left_its_folder(ended):
    holders = {
        path.relative_to(ended).as_posix()
        for path in ended.rglob("*")
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    }
    own = {f"lead/pki/{name}.key" for name in ("ca", "server", "loopback")}
    assert holders == own | {f"{name}/keys/site.key" for name in HOSPITALS}


def test_what_flower_brought_to_a_hospital_holds_no_code_and_no_folder_of_anybodys(ended, workplace):
    for name in HOSPITALS:
        brought = [path for path in (ended / name / "flwr").rglob("apps/*/*") if path.is_file()]
        assert {path.name for path in brought} == {"README.md", "pyproject.toml"}
        text = "".join(path.read_text() for path in brought)
        for secret in (str(workplace.folder), str(ended), "PRIVATE KEY"):
            assert secret not in text
