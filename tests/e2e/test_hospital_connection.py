"""A hospital's way to the server with real processes: through a proxy, over a server that goes away, after a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from fedthorax.common.consortium import issuing
from fedthorax.server.consortium.certificates import issue_server_certificate
from fedthorax.server.consortium.folder import ConsortiumFolder, certificate_names

from ..client.site.proxy import Proxy, connect_proxy
from ..waiting import free_port, wait_for

pytestmark = pytest.mark.slow

CLI = [sys.executable, "-m", "fedthorax.cli.main"]
HOST = "127.0.0.2"  # loopback, but not among the addresses that never go through a proxy


class Consortium:
    """A server and one hospital, whose worker is elsewhere: only the connection is of interest here."""

    def __init__(self, place: Path, proxy: Proxy) -> None:
        self.place, self.proxy = place, proxy
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        port = free_port(HOST)
        self.server = f"{HOST}:{port}"
        (place / "net.yaml").write_text(f"name: net\naddress: {self.server}\nsuperlink_port: {free_port(HOST)}\n")
        for name in ("xray", "ct"):
            (place / name).mkdir()
        self.call("server", "init", "net.yaml")
        self.call(
            *("site", "init", "--name", "north", "--xray", "xray", "--ct", "ct", "--invitation", "net/invitation.json")
        )
        settings = place / "north" / "site.yaml"
        worker = "worker: {address: 'localhost:1', ca: ca.crt, certificate: ca.crt, key: ca.crt}\n"
        text = settings.read_text().replace("https_proxy: null", f"https_proxy: {proxy.url}")
        settings.write_text(text + worker)

    def call(self, *arguments: str) -> None:
        subprocess.run([*CLI, *arguments], cwd=self.place, check=True, capture_output=True)

    def said(self, *arguments: str, **environment: str) -> str:
        """What a command says, however it ends."""
        done = subprocess.run(
            [*CLI, *arguments], cwd=self.place, capture_output=True, text=True, env=os.environ | environment
        )
        return done.stdout + done.stderr

    def since(self, folder: str, before: int) -> str:
        return self.told(folder)[before:]

    def start(self, side: str, folder: str, **environment: str) -> None:
        with (self.place / f"{folder}.txt").open("a") as told:
            command = [*CLI, side, "start", "--folder", folder]
            self.processes[folder] = subprocess.Popen(
                command, cwd=self.place, stdout=told, stderr=subprocess.STDOUT, env=os.environ | environment
            )

    def stop(self, folder: str) -> None:
        process = self.processes.pop(folder)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        _, alive = psutil.wait_procs(children, 20)
        assert alive == []

    def told(self, folder: str) -> str:
        return (self.place / f"{folder}.txt").read_text()


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with connect_proxy() as proxy:
        one = Consortium(tmp_path_factory.mktemp("c"), proxy)
        try:
            one.start("server", "net")
            wait_for(lambda: "ready for hospitals" in one.told("net"))
            one.start("site", "north")
            yield one
        finally:
            for folder in list(one.processes):
                one.stop(folder)


def test_a_hospital_that_is_not_admitted_is_told_once_and_connects_through_its_proxy_once_it_is(
    consortium: Consortium,
) -> None:
    wait_for(lambda: "does not belong to an admitted hospital" in consortium.told("north"))
    time_of_first = len(consortium.proxy.asked)
    consortium.call("server", "admit", "north/north.site.json", "--folder", "net")
    wait_for(lambda: f"{consortium.server}: connected" in consortium.told("north"))
    assert consortium.told("north").count("does not belong to an admitted hospital") == 1
    assert time_of_first > 0
    assert set(consortium.proxy.asked) == {consortium.server}
    node = json.loads((consortium.place / "north" / "processes.json").read_text())["supernode"]
    peers = {c.raddr.port for c in psutil.Process(node).net_connections("inet") if c.raddr}
    assert int(consortium.server.rsplit(":", 1)[1]) not in peers  # everything goes through the proxy


def test_a_killed_supernode_comes_back_by_itself(consortium: Consortium) -> None:
    node = json.loads((consortium.place / "north" / "processes.json").read_text())["supernode"]
    before = len(re.findall("SuperNode ID:", (consortium.place / "north" / "logs" / "supernode.log").read_text()))
    os.kill(node, signal.SIGKILL)
    log = consortium.place / "north" / "logs" / "supernode.log"
    wait_for(lambda: len(re.findall("SuperNode ID:", log.read_text())) > before)


@pytest.fixture
def both(consortium: Consortium) -> Consortium:
    """Server and hospital run, and are connected, whatever the test before did."""
    if "net" not in consortium.processes:
        consortium.start("server", "net")
    if "north" not in consortium.processes:
        before = len(consortium.told("north"))
        consortium.start("site", "north")
        wait_for(lambda: f"{consortium.server}: connected" in consortium.since("north", before))
    return consortium


def test_a_server_that_is_away_is_said_once_and_its_return_once(consortium: Consortium) -> None:
    consortium.stop("net")
    wait_for(lambda: "cannot be reached" in consortium.told("north"))
    consortium.start("server", "net")
    wait_for(lambda: "can be reached again" in consortium.told("north"))
    assert consortium.told("north").count("cannot be reached") == 1


@pytest.mark.parametrize(
    ("service", "at_hospital", "at_lead", "afterwards"),
    [
        (
            "superlink",
            "the gateway is there, but the SuperLink behind it does not answer; only the lead can mend that",
            "no hospital can work: the SuperLink does not answer; see logs/superlink.log",
            "works again",
        ),
        (
            "gateway",
            "cannot be reached",
            "no hospital can connect: the gateway does not answer; see logs/gateway.log",
            "can be reached again",
        ),
    ],
)
def test_half_a_server_is_said_as_what_it_is_on_both_sides(
    both: Consortium, service: str, at_hospital: str, at_lead: str, afterwards: str
) -> None:
    state = json.loads((both.place / "net" / "server.json").read_text())
    before = len(both.told("north"))
    both.processes["net"].send_signal(signal.SIGSTOP)  # it would start it again
    try:
        os.kill(state["services"][service], signal.SIGKILL)
        wait_for(lambda: at_hospital in both.since("north", before))
        assert at_lead in both.said("server", "status", "--folder", "net")
        found = " ".join(both.said("site", "check", "--folder", "north").split())
        assert re.search(f"PROBLEM server: .*{at_hospital}", found), found
    finally:
        both.processes["net"].send_signal(signal.SIGCONT)
    wait_for(lambda: afterwards in both.since("north", before))
    wait_for(lambda: ": serving;" in both.said("server", "status", "--folder", "net"))


def test_of_a_run_that_is_not_started_a_hospital_reads_nothing_and_its_last_sentence_stays_true(
    both: Consortium,
) -> None:
    both.stop("north")
    before = len(both.told("north"))
    both.start("site", "north")
    true = f"{both.server}: connected; this hospital is asked once the lead starts a run"
    wait_for(lambda: true in both.since("north", before))
    experiment = Path(__file__).parents[2] / "configs" / "demo.yaml"  # of hospitals that are not admitted
    assert "not admitted to this consortium" in both.said("run", str(experiment), "--folder", "net")
    said = [line for line in both.told("north").splitlines() if line.startswith(both.server)]
    assert said[-1] == true


CLOCK = """
import datetime, os, time
import flwr.supercore.date as date
true_now, true_time, wrong = date.now, time.time, float(os.environ["FEDTHORAX_TEST_CLOCK"])
date.now = lambda: true_now() + datetime.timedelta(seconds=wrong)
time.time = lambda: true_time() + wrong
"""


@pytest.mark.parametrize(
    ("seconds", "at_check", "at_server"),
    [
        pytest.param(20, r"(19|20|21)\.\d s ahead of", r"\d\d s ahead of the server's, more than 5 s", id="ahead"),
        pytest.param(-400, r"(399|400|401)\.\d s behind", r"\d{3} s behind the server's, more than 300 s", id="behind"),
    ],
)
def test_a_wrong_clock_is_named_by_the_check_and_by_the_server(
    both: Consortium, seconds: int, at_check: str, at_server: str
) -> None:
    clock = both.place / f"clock{seconds}"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(CLOCK)  # in every Python of this hospital
    wrong = {"PYTHONPATH": str(clock), "FEDTHORAX_TEST_CLOCK": str(seconds)}
    checked = both.said("site", "check", "--folder", "north", **wrong)
    assert re.search(rf"PROBLEM +clock: {at_check} the server's, and at most 5 s either way", checked), checked
    both.stop("north")
    before = len(both.told("north"))
    both.start("site", "north", **wrong)
    words = rf"not let in: the hospital's clock is {at_server}: set it \(NTP\)"
    wait_for(lambda: re.search(words, both.since("north", before)))
    assert "not admitted" not in both.since("north", before)
    both.stop("north")


def test_one_key_on_two_machines_is_said_on_the_second(both: Consortium) -> None:
    not_copied = shutil.ignore_patterns("run", "flwr", ".lock")
    shutil.copytree(both.place / "north", both.place / "twin", ignore=not_copied)
    both.start("site", "twin")
    wait_for(lambda: "another SuperNode is connected with this hospital's key" in both.told("twin"), seconds=400)
    both.stop("twin")


def change(consortium: Consortium, key: str, value: str) -> None:
    """In the hospital's site.yaml, while it does not run."""
    settings = consortium.place / "north" / "site.yaml"
    text, count = re.subn(rf"(?m)^{key}: .*$", f"{key}: {value}", settings.read_text())
    assert count == 1
    settings.write_text(text)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("nowhere.invalid:8443", "nowhere.invalid:8443 cannot be reached: no machine of this name is known"),
        ("127.0.0.2:1", "127.0.0.2:1 cannot be reached: .*does the server run"),
        ("fl.example.org:8443", "the server's certificate is not to be trusted .*ostname mismatch"),
    ],
    ids=["no such machine", "nobody there", "another machine's name"],
)
def test_a_wrong_address_is_said_as_what_it_is(both: Consortium, server: str, words: str) -> None:
    both.stop("north")
    both.proxy.elsewhere["fl.example.org:8443"] = both.server
    change(both, "server", server)
    if "example" not in server:
        change(both, "https_proxy", "null")
    before = len(both.told("north"))
    both.start("site", "north")
    try:
        wait_for(lambda: re.search(words, both.since("north", before)))
    finally:
        both.stop("north")
        change(both, "server", both.server)
        change(both, "https_proxy", both.proxy.url)


def test_an_authority_that_is_not_the_servers_is_said(both: Consortium) -> None:
    both.stop("north")
    kept = (both.place / "north" / "ca.crt").read_bytes()
    (both.place / "other.yaml").write_text("name: other\naddress: 127.0.0.1:8443\n")
    both.call("server", "init", "other.yaml")
    (both.place / "north" / "ca.crt").write_bytes((both.place / "other" / "pki" / "ca.crt").read_bytes())
    before = len(both.told("north"))
    both.start("site", "north")
    try:
        words = r"the server's certificate is not to be trusted \(.*\); compare ca.crt with the lead"
        wait_for(lambda: re.search(words, both.since("north", before)))
    finally:
        both.stop("north")
        (both.place / "north" / "ca.crt").write_bytes(kept)


def test_a_certificate_that_ends_while_the_server_runs_is_said_on_both_sides(
    both: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ConsortiumFolder(both.place / "net")
    before = {name: len(both.told(name)) for name in ("net", "north")}
    monkeypatch.setattr(issuing, "_SKEW", timedelta(days=9))
    names, authority = certificate_names(folder.settings()), (folder.ca_certificate, folder.ca_key)
    issue_server_certificate(names, -1, authority, folder.server_certificate, folder.server_key)
    wait_for(lambda: "the server's certificate has ended" in both.since("north", before["north"]))
    wait_for(lambda: "certificate has ended: no hospital can connect" in both.since("net", before["net"]))
    said = both.said("server", "status", "--folder", "net")
    assert "no hospital can connect: the certificate has ended" in said
    both.call("server", "renew", "--folder", "net")
    wait_for(lambda: "can be reached again" in both.since("north", before["north"]))


def test_a_revoked_hospital_reads_that_it_was_revoked(both: Consortium) -> None:
    before = len(both.told("north"))
    both.call("server", "revoke", "north", "--folder", "net")
    wait_for(lambda: "not let in: this hospital's key was revoked or given up" in both.since("north", before))
