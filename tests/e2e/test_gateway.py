"""Nobody else gets in: a real SuperLink behind the gateway, a real SuperNode, and strangers who hold everything but the
right to be there. No TensorFlow runs here."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from flwr.proto import control_pb2, fleet_pb2, node_pb2, run_pb2
from flwr.supercore.control import ControlHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient

from fedthorax.client.site.call_signing import CallSigning
from fedthorax.common.config.load import load_experiment
from fedthorax.common.consortium.keys import (
    new_private_key,
    node_key,
    public_key_text,
    read_private_key,
    write_private_key,
)
from fedthorax.common.consortium.registration import new_registration
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.audit import verify
from fedthorax.server.consortium.control import Control, control
from fedthorax.server.consortium.folder import ConsortiumFolder, read_hospitals
from fedthorax.server.consortium.runs import read_submissions
from fedthorax.server.consortium.submit import for_consortium, submit

from ..waiting import free_port, wait_for

pytestmark = pytest.mark.ci


@dataclass
class Lead:
    """A consortium that serves hospitals, and the commands of its lead."""

    folder: ConsortiumFolder
    server: subprocess.Popen[str]
    told: Path

    def command(self, *arguments: str, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fedthorax.cli.main", *arguments],
            cwd=self.folder.path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def services(self) -> dict[str, int]:
        return dict(json.loads(self.folder.state.read_text())["services"])

    def admit(self, name: str) -> Path:
        """The private key of a hospital that was admitted under ``name``."""
        key, file = self.folder.path.parent / f"{name}.key", self.folder.path.parent / f"{name}.site.json"
        private = new_private_key()
        write_private_key(key, private)
        write_json(file, new_registration(name, private, "0.1.0"))
        self.command("server", "admit", str(file))
        return key

    def node_id(self, name: str) -> int:
        found = next(h.node_id for h in read_hospitals(self.folder) if h.name == name)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def lead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lead]:
    path = tmp_path_factory.mktemp("lead")
    (path / "consortium.yaml").write_text(
        f"name: thorax\naddress: 127.0.0.1:{free_port()}\nsuperlink_port: {free_port()}\n"
    )
    cli = [sys.executable, "-m", "fedthorax.cli.main", "server"]
    subprocess.run([*cli, "init", "consortium.yaml"], cwd=path, check=True, capture_output=True)
    told = path / "told.txt"
    with told.open("w") as out:
        server = subprocess.Popen([*cli, "start"], cwd=path, stdout=out, stderr=subprocess.STDOUT, text=True)
    one = Lead(ConsortiumFolder(path / "thorax"), server, told)
    try:
        wait_for(lambda: "is ready for hospitals" in told.read_text() or server.poll() is not None)
        assert server.poll() is None, told.read_text()
        yield one
        pids = [
            server.pid,
            *one.services.values(),
            *(p.pid for p in psutil.Process(server.pid).children(recursive=True)),
        ]
    finally:
        server.terminate()
        server.wait(60)
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    verify(one.folder.audit.path)


@pytest.fixture(scope="module")
def anna(lead: Lead) -> Path:
    return lead.admit("St. Anna")


class Signing(CallSigning):
    """Signs any request, control calls included, with a hospital's key."""

    def __init__(self, key: Path) -> None:
        private = read_private_key(key)
        super().__init__(private, private.public_key())


def control_of_stranger(lead: Lead, key: Path) -> ControlHttpClient:
    """Flower's control client at the consortium's public address, with its CA certificate and a hospital's key."""
    return ControlHttpClient.from_server_address(
        lead.folder.settings().address,
        insecure=False,
        root_certificates=lead.folder.ca_certificate.read_bytes(),
        interceptors=[Signing(key)],
    )


def fleet(lead: Lead, key: Path, root: bytes | None = None) -> FleetHttpClient:
    return FleetHttpClient.from_server_address(
        lead.folder.settings().address,
        insecure=False,
        root_certificates=root or lead.folder.ca_certificate.read_bytes(),
        interceptors=[Signing(key)],
    )


def refusal(call: Callable[[], object]) -> int:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        call()
    return refused.value.response.status_code


def test_with_the_ca_certificate_and_a_hospitals_key_nobody_controls_the_consortium(lead, anna):
    client = control_of_stranger(lead, anna)
    stranger = node_key(public_key_text(new_private_key()))
    calls = {
        "register a node": lambda: client.RegisterNode(
            control_pb2.RegisterNodeRequest(public_key=stranger, name="St. Anna")
        ),
        "unregister a node": lambda: client.UnregisterNode(
            control_pb2.UnregisterNodeRequest(node_id=lead.node_id("St. Anna"))
        ),
        "list nodes": lambda: client.ListNodes(control_pb2.ListNodesRequest()),
        "start a run": lambda: client.StartRun(control_pb2.StartRunRequest()),
        "stop a run": lambda: client.StopRun(control_pb2.StopRunRequest(run_id=1)),
        "list runs": lambda: client.ListRuns(control_pb2.ListRunsRequest()),
        "read a run's log": lambda: list(client.StreamLogs(control_pb2.StreamLogsRequest(run_id=1))),
        "pull artifacts": lambda: client.PullArtifacts(control_pb2.PullArtifactsRequest(run_id=1)),
    }
    with contextlib.closing(client):
        assert {what: refusal(call) for what, call in calls.items()} == dict.fromkeys(calls, 404)


def test_flowers_own_command_line_does_not_get_in_either(lead, anna, tmp_path):
    (tmp_path / "config.toml").write_text(
        f'[superlink.there]\naddress = "{lead.folder.settings().address}"\n'
        f'root-certificates = "{lead.folder.ca_certificate}"\n'
    )
    environment = os.environ | {"FLWR_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("flwr")), "list", "there"], env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no such path" in done.stdout + done.stderr


def test_the_superlink_itself_listens_on_loopback_only(lead):
    port = lead.folder.settings().superlink_port
    listening = [
        c for c in psutil.Process(lead.services["superlink"]).net_connections("inet") if c.status == psutil.CONN_LISTEN
    ]
    assert {(c.laddr.ip, c.laddr.port) for c in listening} == {("127.0.0.1", port)}


def test_a_hospital_connects_and_cannot_register_or_speak_for_another(lead, anna):
    berta = lead.admit("Berta")
    with contextlib.closing(fleet(lead, anna)) as client:
        request = fleet_pb2.RegisterNodeFleetRequest(public_key=node_key(public_key_text(new_private_key())))
        assert refusal(lambda: client.RegisterNode(request)) == 404
        key = node_key(public_key_text(read_private_key(anna)))
        active = client.ActivateNode(fleet_pb2.ActivateNodeRequest(public_key=key, heartbeat_interval=30))
        assert active.node_id == lead.node_id("St. Anna")
        mine, other = node_pb2.Node(node_id=active.node_id), node_pb2.Node(node_id=lead.node_id("Berta"))
        assert not client.PullMessages(fleet_pb2.PullMessagesRequest(node=mine)).messages_list
        assert refusal(lambda: client.PullMessages(fleet_pb2.PullMessagesRequest(node=other))) == 401
        berta_key = node_key(public_key_text(read_private_key(berta)))
        activate = fleet_pb2.ActivateNodeRequest(public_key=berta_key, heartbeat_interval=30)
        assert refusal(lambda: client.ActivateNode(activate)) == 401
        assert refusal(lambda: client.GetRun(run_pb2.GetRunRequest(node=mine, run_id=1))) == 403
        assert refusal(lambda: client.GetRun(run_pb2.GetRunRequest(node=other, run_id=1))) == 401
        client.DeactivateNode(fleet_pb2.DeactivateNodeRequest(node_id=active.node_id))


def test_an_unknown_key_is_refused(lead, tmp_path):
    write_private_key(tmp_path / "stranger.key", new_private_key())
    key = node_key(public_key_text(read_private_key(tmp_path / "stranger.key")))
    with contextlib.closing(fleet(lead, tmp_path / "stranger.key")) as client:
        activate = fleet_pb2.ActivateNodeRequest(public_key=key, heartbeat_interval=30)
        assert refusal(lambda: client.ActivateNode(activate)) == 401


def test_a_server_with_another_certificate_is_not_taken_for_the_consortiums(lead, anna, tmp_path):
    from fedthorax.server.consortium.certificates import create_authority

    create_authority("thorax", tmp_path / "ca.crt", tmp_path / "ca.key")
    with contextlib.closing(fleet(lead, anna, (tmp_path / "ca.crt").read_bytes())) as client:
        key = node_key(public_key_text(read_private_key(anna)))
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.ActivateNode(fleet_pb2.ActivateNodeRequest(public_key=key, heartbeat_interval=30))


def test_altered_and_replayed_files_and_taken_names_are_refused_on_the_command_line(lead, anna, tmp_path):
    file = anna.with_name("St. Anna.site.json")
    assert "this file was admitted before" in lead.command("server", "admit", str(file), expect=1)
    altered = tmp_path / "altered.site.json"
    altered.write_text(file.read_text().replace("St. Anna", "St. Berta"))
    assert "the signature does not fit" in lead.command("server", "admit", str(altered), expect=1)
    impostor = tmp_path / "impostor.site.json"
    write_json(impostor, new_registration("St. Anna", new_private_key(), "0.1.0"))
    assert "admitted already, with another key" in lead.command("server", "admit", str(impostor), expect=1)


@pytest.mark.slow
def test_a_supernode_connects_survives_both_servers_and_is_shut_out_when_revoked(lead, tmp_path):
    """A SuperNode as a hospital runs it without FedThorax's supervisor."""
    key = lead.admit("Clara")
    log = tmp_path / "node.log"
    programs = Path(sys.executable).parent
    with log.open("w") as out:
        node = subprocess.Popen(
            [
                *(sys.executable, "-m", "fedthorax.client.site.supernode_process"),
                f"--superlink={lead.folder.settings().address}",
                f"--root-certificates={lead.folder.ca_certificate}",
                f"--auth-supernode-private-key={key}",
                f"--port={free_port()}",
                "--node-config",
                'name="Clara"',
            ],
            env=os.environ | {"FLWR_HOME": str(tmp_path), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def state() -> str:
        listed = json.loads(lead.command("server", "status", "--json"))["hospitals"]
        return str(next(h["state"] for h in listed if h["name"] == "Clara"))

    try:
        wait_for(lambda: state() == "connected")
        for service in ("superlink", "gateway"):
            before = lead.services[service]
            psutil.Process(before).kill()
            wait_for(lambda name=service, pid=before: lead.services.get(name) not in (None, pid))
        count = log.read_text().count
        wait_for(lambda: "Connection successful after" in log.read_text())
        assert count("SuperNode ID") == 1
        wait_for(lambda: state() == "connected")
        lead.command("server", "revoke", "Clara")
        assert state() == "revoked"
        assert node.wait(60) is not None
    finally:
        node.kill()
        node.wait()


@pytest.mark.slow
def test_no_run_goes_on_that_the_lead_does_not_know_though_flower_was_cut_off_while_it_was_handed_in(
    lead, anna, tmp_path, monkeypatch
):
    file, begun, run, ask = tmp_path / "chest.yaml", list[int](), subprocess.run, Control.begun
    file.write_text(
        "name: chest\nlabels: {findings: [Effusion], cancer_classes: [normal, tumour]}\n"
        "data: {hospitals: {anna: null, berta: null}, central: {xray: x, ct: c}}\n"
        "training: {phases: [{rounds: 2, trainable: heads}]}\n"
    )

    def cut_off(command, **more):
        run(command, **more)
        raise subprocess.TimeoutExpired(command, more["timeout"])

    monkeypatch.setattr(subprocess, "run", cut_off)
    experiment = for_consortium(load_experiment(file), lead.folder)
    with control(lead.folder) as link:
        assert link.run(submit(experiment, lead.folder).run_id) is not None
        monkeypatch.setattr(Control, "begun", lambda link, experiment: begun.append(ask(link, experiment)))
        with pytest.raises(RuntimeError, match="the SuperLink knows no run of it"):
            submit(experiment, lead.folder)  # which begins after the look, so to say
        wait_for(lambda: link.run(begun[0]).over, seconds=600)
        assert re.search(r"submissions/chest-\w+\.yaml: no such file", link.run(begun[0]).details)
    assert len(read_submissions(lead.folder)) == 1


def test_a_second_server_of_the_same_consortium_is_refused(lead):
    assert "another process serves this consortium already" in lead.command("server", "start", expect=1)


def test_plain_http_needs_a_loopback_address(tmp_path):
    (tmp_path / "consortium.yaml").write_text(f"name: open\naddress: 10.0.0.1:{free_port()}\n")
    cli = [sys.executable, "-m", "fedthorax.cli.main", "server"]
    subprocess.run([*cli, "init", "consortium.yaml"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([*cli, "start", "--insecure"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "--insecure is for loopback only" in done.stderr
