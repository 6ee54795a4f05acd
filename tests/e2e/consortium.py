"""A whole consortium in real processes, started through the command line as its people would: a lead and hospitals in
folders of their own, TLS, node authentication, the gateway. Everything can be killed, and nothing is left behind."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from fedthorax.common.ground.audit import verify
from fedthorax.common.ground.events import read_events

from ..waiting import free_port, wait_for

_WINDOW = 1 << 16  # bytes that the system takes from a socket before somebody reads them
_LATE_S = 0.05  # a sleep that a busy machine ends later than this makes the line slower; a shorter one does not
MARK = "FEDTHORAX_TEST_PLACE"  # in the environment of everything that is started here, so that it can be found again


def heed_ctrl_c() -> None:
    """A shell starts its background jobs with SIGINT ignored, these tests perhaps among them, and what is started from
    here would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Cable:
    """A TCP way from a port of its own to ``target``, which can be cut and mended, and be slow: so many bytes a second
    each way, each so many seconds under way."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.cut = False
        self.bytes_per_second: float | None = None
        self.delay = 0.0
        self.passed = {"up": 0, "down": 0}
        self._free = {"up": 0.0, "down": 0.0}  # when the line has sent what it took
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)  # else megabytes lie in the machine
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def sever(self) -> None:
        """Present connections are broken off, new ones are taken and never answered: as behind a dead line."""
        self.cut = True
        self._break_off()

    def mend(self) -> None:
        self.cut = False
        self._break_off()  # those that were taken meanwhile

    def _break_off(self) -> None:
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sever()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(near)
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with near:
            if self.cut:
                self._drain(near)
            else:
                with contextlib.suppress(OSError), self._reach() as far:
                    self._open.add(far)
                    back = threading.Thread(target=self._copy, args=(far, near, "down"), daemon=True)
                    back.start()
                    self._copy(near, far, "up")
                    back.join()
                    self._open.discard(far)
        self._open.discard(near)

    @staticmethod
    def _drain(near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while near.recv(65536):
                continue

    def _reach(self) -> socket.socket:
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
        try:
            far.connect(("127.0.0.1", self.target))
        except OSError:
            far.close()
            raise
        return far

    def _copy(self, source: socket.socket, target: socket.socket, way: str) -> None:
        under_way = queue.Queue[tuple[float, bytes]](64)
        deliver = threading.Thread(target=self._deliver, args=(under_way, target, way), daemon=True)
        deliver.start()
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self.passed[way] += len(piece)
                if self.bytes_per_second is not None:
                    now = time.monotonic()
                    self._free[way] = max(self._free[way], now - _LATE_S) + len(piece) / self.bytes_per_second
                    time.sleep(max(self._free[way] - now, 0.0))
                under_way.put((time.monotonic() + self.delay, piece))
        under_way.put((0.0, b""))
        deliver.join()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _deliver(self, under_way: "queue.Queue[tuple[float, bytes]]", target: socket.socket, way: str) -> None:
        broken = False
        while (found := under_way.get())[1]:
            if broken:
                continue  # so that the other thread comes to its end
            time.sleep(max(found[0] - time.monotonic(), 0.0))
            try:
                target.sendall(found[1])
            except OSError:
                broken = True


@dataclass
class Consortium:
    """``place`` holds one folder for the lead and one for each hospital; ``data`` the images, ``data/NAME`` each."""

    place: Path
    data: Path
    hospitals: tuple[str, ...]
    working: Path | None = None  # where commands are given; None: beside ``data``
    asking: tuple[str, ...] = ()  # hospitals where a person agrees to each run; the others take part in all
    settings: Mapping[str, str] = field(default_factory=dict)  # what becomes what in each hospital's site.yaml
    cabled: bool = True  # each hospital's line to the server goes over a cable of its own
    cables: dict[str, Cable] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # ---- commands

    def start(
        self, *arguments: str, told: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command; what it says goes to ``told``."""
        with (self.place / told).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "fedthorax.cli.main", *arguments],
                cwd=self.working or self.data.parent,
                env=os.environ | {"COLUMNS": "80", MARK: str(self.place)} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, *arguments: str, expect: int = 0, seconds: float = 600.0) -> str:
        """Run a command to its end; returns all that it said."""
        told = f"command-{time.monotonic_ns()}.txt"
        process = self.start(*arguments, told=told)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        output = self.told(told)
        assert code == expect, f"{' '.join(arguments)}: exit status {code}, expected {expect}\n{output}"
        return output

    def lead(self, *arguments: str, expect: int = 0, seconds: float = 600.0) -> str:
        """A command of the lead's: `server …` or `run …`."""
        return self.command(*arguments, "--folder", str(self.folder), expect=expect, seconds=seconds)

    def flwr(self, *arguments: str) -> str:
        """What Flower's own command line says to the lead, without colours and frames."""
        environment = os.environ | {"FLWR_HOME": str(self.folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0"}
        environment |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        command = [str(Path(sys.executable).with_name("flwr")), *arguments]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, f"flwr {' '.join(arguments)}: exit status {done.returncode}\n{said}"
        return said

    def told(self, name: str) -> str:
        return (self.place / name).read_text(encoding="utf-8")

    # ---- setting up and ending

    @property
    def folder(self) -> Path:
        return self.place / "lead"

    def site(self, name: str) -> Path:
        return self.place / name

    def set_up(self) -> None:
        """The folders, made and admitted."""
        heed_ctrl_c()
        port = free_port()
        self.place.mkdir(parents=True, exist_ok=True)
        text = f"name: lead\naddress: 127.0.0.1:{port}\nsuperlink_port: {free_port()}\n"
        (self.place / "consortium.yaml").write_text(text)
        self.lead("server", "init", str(self.place / "consortium.yaml"))
        for name in self.hospitals:
            images = ("--xray", str(self.data / name / "xray"), "--ct", str(self.data / name / "ct"))
            invitation = ("--invitation", str(self.folder / "invitation.json"))
            folder = ("--folder", str(self.site(name)))
            said = self.command("site", "init", "--name", name, *images, *invitation, *folder)
            fingerprint = re.search(r"SHA256:\S+", said)
            assert fingerprint, said
            moved = {}
            if self.cabled:
                self.cables[name] = Cable(port)
                moved = {f"127.0.0.1:{port}": f"127.0.0.1:{self.cables[name].port}"}
            settings = self.site(name) / "site.yaml"
            ours = settings.read_text()
            agrees = {} if name in self.asking else {"participation: ask": "participation: always"}
            for old, new in {**agrees, **moved, **self.settings}.items():
                assert old in ours, f"site.yaml lacks {old}"
                ours = ours.replace(old, new)
            settings.write_text(ours)
            file = str(self.site(name) / f"{name}.site.json")
            self.lead("server", "admit", file, "--fingerprint", fingerprint.group())

    def trust_each_other(self) -> str:
        """Every hospital pins the lead's roster, as masked runs need; returns its fingerprint."""
        file = str(self.place / "roster.json")
        said = self.lead("server", "roster", "--output", file)
        found = re.search(r"fingerprint: ([\d ]+)", said)
        assert found, said
        heard = found.group(1).strip()
        for name in self.hospitals:
            self.command("site", "trust", file, "--fingerprint", heard, "--folder", str(self.site(name)))
        return heard

    def start_server(self, environment: Mapping[str, str] | None = None) -> None:
        (self.place / "lead.txt").touch()
        before = self.told("lead.txt").count("is ready for hospitals")
        command = ("server", "start", "--folder", str(self.folder))
        self.running["lead"] = self.start(*command, told="lead.txt", environment=environment)
        wait_for(lambda: self.told("lead.txt").count("is ready for hospitals") > before, "the server")

    def start_site(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        command = ("site", "start", "--folder", str(self.site(name)))
        self.running[name] = self.start(*command, told=f"{name}.txt", environment=environment)

    def stop(self, name: str) -> None:
        """End the server (``lead``) or a hospital as its person does, and everything it had started."""
        process = self.running.pop(name)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, self.told(f"{name}.txt")
        _, left = psutil.wait_procs(family, 30)
        assert left == [], f"{name} has left {left}"

    def close(self) -> None:
        """End everything; AssertionError, after killing it, where a process was left."""
        try:
            for name in reversed(list(self.running)):
                self.stop(name)
            wait_for(lambda: not self.processes(), "the last process to end", 30)
        finally:
            for cable in self.cables.values():
                cable.close()
            for left in self.processes():
                with contextlib.suppress(psutil.Error):
                    left.kill()

    def processes(self) -> list[psutil.Process]:
        """Everything alive that was started here, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == str(self.place) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    # ---- looking

    def states(self) -> dict[str, str]:
        listed = json.loads(self.lead("server", "status", "--json"))["hospitals"]
        return {hospital["name"]: hospital["state"] for hospital in listed}

    def wait_connected(self) -> None:
        wait_for(lambda: set(self.states().values()) == {"connected"}, "all hospitals to be connected")

    def pid(self, owner: str, what: str) -> int | None:
        """A process of the lead's (superlink, gateway, serverapp) or of a hospital's (worker, supernode, clientapp);
        None while there is none."""
        state = self.folder / "server.json" if owner == "lead" else self.site(owner) / "processes.json"
        try:
            known = json.loads(state.read_text())
            services = known["services"] if owner == "lead" else known
            if what == "clientapp":  # a task's own process
                tasks = psutil.Process(services[what]).children()
                return next((each.pid for each in tasks if each.name() == "flwr-clientapp"), None)
            if what in services:
                return int(services[what])
            parent = psutil.Process(services["superlink" if owner == "lead" else "supernode"])
            for child in parent.children(recursive=True):
                if any(f"flwr-{what}" in part for part in child.cmdline()):
                    return child.pid
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        return None

    def kill(self, owner: str, what: str) -> int:
        """kill -9 the process as soon as there is one."""
        while True:
            pid = int(wait_for(lambda: self.pid(owner, what), f"{owner}'s {what}"))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return pid

    def run_folder(self, name: str) -> Path:
        return self.folder / "runs" / name

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the run has told since it was last started."""
        path = self.run_folder(name) / "events.jsonl"
        return read_events(path)[0] if path.exists() else []

    def metrics(self, name: str) -> dict[str, Any]:
        metrics: dict[str, Any] = json.loads((self.run_folder(name) / "metrics.json").read_text())
        return metrics

    def models(self, name: str) -> dict[str, Any]:
        """Rounds and hashes of the models that a run has left."""
        return models_in(self.run_folder(name))

    def verify_logs(self, *runs: str) -> None:
        for log in (self.folder, *(self.run_folder(name) for name in runs)):
            verify(log / "audit.jsonl")
        for name in self.hospitals:
            self.command("site", "log", "--verify", "--folder", str(self.site(name)))


def models_in(folder: Path) -> dict[str, Any]:
    """Rounds and hashes of the models in a run folder or a hospital's results. What else stands of them names their
    run, which is another one in another place."""
    entries = json.loads((folder / "model" / "model.json").read_text())["models"]
    return {name: {key: entry[key] for key in ("round", "weights_sha256")} for name, entry in entries.items()}


@contextlib.contextmanager
def consortium(
    place: Path,
    data: Path,
    hospitals: tuple[str, ...],
    working: Path | None = None,
    asking: tuple[str, ...] = (),
    settings: Mapping[str, str] | None = None,
    cabled: bool = True,
) -> Iterator[Consortium]:
    """A consortium that serves, with every hospital connected."""
    one = Consortium(place, data, hospitals, working, asking, settings or {}, cabled)
    try:
        one.set_up()
        one.start_server()
        for name in hospitals:
            one.start_site(name)
        one.wait_connected()
        yield one
    finally:
        one.close()
