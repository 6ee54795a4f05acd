"""A hostile bundle at a hospital that runs its three processes as three users: what it can reach, and what not.

Needs root (it makes three system users and removes them) and an interpreter that other users may run; skipped aloud
otherwise.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fedthorax.server.consortium.folder import ConsortiumFolder
from fedthorax.server.consortium.start import flower_environment
from fedthorax.server.consortium.submit import write_connection
from fedthorax.simulations.phantom import phantom_arguments, write_phantom

from ..waiting import free_port, wait_for

pytestmark = pytest.mark.slow

ROLES = ("supernode", "clientapp", "worker")
CLI = [sys.executable, "-m", "fedthorax.cli.main"]

PROJECT = """\
[project]
name = "hostile"
version = "1.0.0"
description = "Looks around."
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "stranger"
fab-include = ["hostile/**"]
[tool.flwr.app.components]
serverapp = "hostile.server_app:app"
clientapp = "hostile.client_app:app"
[tool.flwr.app.config]
out = ""
targets = ""
"""

SERVER_APP = """\
import time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.5)
    record = RecordDict({"t": ConfigRecord({"targets": str(context.run_config["targets"])})})
    (reply,) = grid.send_and_receive([Message(record, nodes[0], "query")])
    text = reply.content["t"]["found"] if reply.has_content() else '{"error": "%s"}' % reply.error.reason
    out = Path(str(context.run_config["out"]))
    out.with_suffix(".part").write_text(text)
    out.with_suffix(".part").rename(out)
"""

CLIENT_APP = """\
import json
import os
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def attempt(action):
    try:
        return f"REACHED {action()!r}"[:200]
    except Exception as error:
        return type(error).__name__


@app.query()
def look_around(message, context):
    targets = json.loads(message.content["t"]["targets"])
    found = {"uid": os.getuid(), "environ": sorted(os.environ), "node_config": sorted(context.node_config)}
    for path in targets["read"]:
        found["read " + path] = attempt(lambda: open(path, "rb").read(4))
    for path in targets["list"]:
        found["list " + path] = attempt(lambda: os.listdir(path))
    for path in targets["write"]:
        found["write " + path] = attempt(lambda: open(path, "ab"))
    for pid in targets["pids"]:
        found[f"environ {pid}"] = attempt(lambda: open(f"/proc/{pid}/environ", "rb").read(4))
        found[f"memory {pid}"] = attempt(lambda: open(f"/proc/{pid}/mem", "rb"))
        found[f"files {pid}"] = attempt(lambda: os.listdir(f"/proc/{pid}/fd"))
        found[f"kill {pid}"] = attempt(lambda: os.kill(pid, 9))
    found["become root"] = attempt(lambda: os.setuid(0))
    return Message(RecordDict({"t": ConfigRecord({"found": json.dumps(found)})}), reply_to=message)
"""


@pytest.fixture(scope="module")
def users() -> Iterator[dict[str, str]]:
    """System users by role, and their common group."""
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("three users at a hospital can only be tried as root")
    names = {role: f"ftx-{role[:6]}-{os.getpid() % 10000}" for role in ROLES}
    group = f"ftx-{os.getpid() % 10000}"
    made: list[list[str]] = []
    try:
        subprocess.run(["groupadd", "--system", group], check=True)
        made.append(["groupdel", group])
        for name in names.values():
            subprocess.run(["useradd", "--system", "--no-create-home", name], check=True)
            made.append(["userdel", name])
        probe = subprocess.run(
            [sys.executable, "-c", "import fedthorax"], user=names["clientapp"], capture_output=True, check=False
        )
        if probe.returncode:
            pytest.skip(f"other users may not run {sys.executable}")
        yield names | {"group": group}
    except PermissionError:
        pytest.skip(f"other users may not run {sys.executable}")
    finally:
        for command in reversed(made):
            subprocess.run(command, check=False)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="fedthorax-identities-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def found(users: dict[str, str], place: Path) -> Iterator[dict[str, Any]]:
    """What the hostile bundle's ClientApp reported, and what it was set on."""
    write_phantom(place / "data", phantom_arguments(["north"], patients=8, image_size=48, seed=3))
    images = place / "data" / "north"
    for path in (images, *images.rglob("*")):
        shutil.chown(path, users["worker"])
        path.chmod(0o700 if path.is_dir() else 0o600)
    (place / "net.yaml").write_text(f"name: net\naddress: 127.0.0.1:{free_port()}\nsuperlink_port: {free_port()}\n")
    run = {"cwd": place, "check": True, "capture_output": True}
    subprocess.run([*CLI, "server", "init", "net.yaml"], **run)
    setup = ["--name", "north", "--xray", str(images / "xray"), "--ct", str(images / "ct")]
    subprocess.run([*CLI, "site", "init", *setup, "--invitation", "net/invitation.json"], **run)
    settings = place / "north" / "site.yaml"
    chosen = ", ".join(f"{role}: {users[role]}" for role in (*ROLES, "group"))
    lines = [f"users: {{{chosen}}}" if line.startswith("users:") else line for line in settings.read_text().split("\n")]
    settings.write_text("\n".join(lines))
    processes = []
    try:
        for name, command in (("net", ["server", "start"]), ("north", ["site", "start"])):
            with (place / f"{name}.txt").open("w") as told:
                arguments = [*CLI, *command, "--folder", name]
                processes.append(subprocess.Popen(arguments, cwd=place, stdout=told, stderr=subprocess.STDOUT))
            if name == "net":
                wait_for(lambda: "ready for hospitals" in (place / "net.txt").read_text())
                subprocess.run([*CLI, "server", "admit", "north/north.site.json", "--folder", "net"], **run)
        wait_for(lambda: "connected" in (place / "north.txt").read_text())
        wait_for((place / "north" / "run" / "worker.sock").exists)
        yield _attacked(place, users)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)
        print((place / "net.txt").read_text(), (place / "north.txt").read_text())  # shown where a test fails


def _attacked(place: Path, users: dict[str, str]) -> dict[str, Any]:
    site = place / "north"
    pids = json.loads((site / "processes.json").read_text())
    image = next((place / "data" / "north" / "xray").glob("*.png"), None) or next(
        (place / "data" / "north" / "xray").rglob("*.png")
    )
    targets = {
        "read": [str(site / "keys" / "site.key"), str(image), str(site / "egress.jsonl"), str(site / "flwr" / "x")],
        "list": [
            str(place / "data" / "north" / "xray"),
            str(site / "keys"),
            str(site / "state"),
            str(site / "results"),
        ],
        "write": [str(site / "egress.jsonl"), str(site / "site.yaml"), str(site / "ca.crt"), str(site / "run" / "new")],
        "pids": [pids["worker"], pids["supernode"]],
    }
    app = place / "app" / "hostile"
    app.mkdir(parents=True)
    (app.parent / "pyproject.toml").write_text(PROJECT)
    (app / "__init__.py").write_text("")
    (app / "server_app.py").write_text(SERVER_APP)
    (app / "client_app.py").write_text(textwrap.dedent(CLIENT_APP))
    out = place / "found.json"
    (place / "run.toml").write_text(f"out = {json.dumps(str(out))}\ntargets = {json.dumps(json.dumps(targets))}\n")
    folder = ConsortiumFolder(place / "net")
    write_connection(folder)
    flwr = str(Path(sys.executable).with_name("flwr"))
    subprocess.run(
        [flwr, "run", str(app.parent), "consortium", "--run-config", str(place / "run.toml")],
        env=os.environ | flower_environment(folder),
        cwd=folder.flower_home,
        check=True,
        capture_output=True,
    )
    wait_for(out.exists)
    reported: dict[str, Any] = json.loads(out.read_text())
    return reported | {"targets": targets, "alive": [psutil.pid_exists(pid) for pid in targets["pids"]]}


def test_the_bundle_ran_as_the_user_who_holds_nothing(found: dict[str, Any], users: dict[str, str]) -> None:
    import pwd

    assert "error" not in found
    assert found["uid"] == pwd.getpwnam(users["clientapp"]).pw_uid
    assert found["node_config"] == ["name", "socket"]


def test_it_reached_neither_images_nor_key_nor_the_other_processes(found: dict[str, Any]) -> None:
    attempts = {key: value for key, value in found.items() if " " in key}
    assert len(attempts) >= 21
    assert {key: value for key, value in attempts.items() if value.startswith("REACHED")} == {}
    assert found["alive"] == [True, True]
    key, image = found["targets"]["read"][:2]
    assert found[f"read {key}"] == found[f"read {image}"] == "PermissionError"
