"""A hospital's way to the server with real processes: through a proxy, over a server that goes away, after a kill."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

CLI = [sys.executable, "-m", "fedthorax.cli.main"]
HOST = "127.0.0.2"  # loopback, but not among the addresses that never go through a proxy


def wait_for(condition: Callable[[], Any], seconds: float = 240.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Proxy:
    """Knows CONNECT only; counts who asked for what."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += (piece := client.recv(4096))
                if not piece:
                    return
            target = head.split(b" ")[1].decode()
            self.asked.append(target)
            host, port = target.rsplit(":", 1)
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                return
            with server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                _copy(client, server)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


class Consortium:
    """A server and one hospital, whose worker is elsewhere: only the connection is of interest here."""

    def __init__(self, place: Path, proxy: Proxy) -> None:
        self.place, self.proxy = place, proxy
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        port = free_port()
        self.server = f"{HOST}:{port}"
        (place / "net.yaml").write_text(f"name: net\naddress: {self.server}\nsuperlink_port: {free_port()}\n")
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

    def start(self, side: str, folder: str) -> None:
        with (self.place / f"{folder}.txt").open("a") as told:
            command = [*CLI, side, "start", "--folder", folder]
            self.processes[folder] = subprocess.Popen(command, cwd=self.place, stdout=told, stderr=subprocess.STDOUT)

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
    proxy = Proxy()
    one = Consortium(tmp_path_factory.mktemp("c"), proxy)
    try:
        one.start("server", "net")
        wait_for(lambda: "ready for hospitals" in one.told("net"))
        one.start("site", "north")
        yield one
    finally:
        for folder in list(one.processes):
            one.stop(folder)
        proxy.close()


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
    node = json.loads((consortium.place / "north" / "run" / "processes.json").read_text())["supernode"]
    peers = {c.raddr.port for c in psutil.Process(node).net_connections("inet") if c.raddr}
    assert int(consortium.server.rsplit(":", 1)[1]) not in peers  # everything goes through the proxy


def test_a_killed_supernode_comes_back_by_itself(consortium: Consortium) -> None:
    node = json.loads((consortium.place / "north" / "run" / "processes.json").read_text())["supernode"]
    before = len(re.findall("SuperNode ID:", (consortium.place / "north" / "logs" / "supernode.log").read_text()))
    os.kill(node, signal.SIGKILL)
    log = consortium.place / "north" / "logs" / "supernode.log"
    wait_for(lambda: len(re.findall("SuperNode ID:", log.read_text())) > before)


def test_a_server_that_is_away_is_said_once_and_its_return_once(consortium: Consortium) -> None:
    consortium.stop("net")
    wait_for(lambda: "cannot be reached" in consortium.told("north"))
    consortium.start("server", "net")
    wait_for(lambda: "can be reached again" in consortium.told("north"))
    assert consortium.told("north").count("cannot be reached") == 1
