"""``fedthorax server start``: Flower's SuperLink and the gateway, kept up together."""

import contextlib
import dataclasses
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fedthorax import __version__
from fedthorax.common.consortium.supervision import Service, supervise
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.lock import locked
from fedthorax.common.ground.machine import full_disk
from fedthorax.common.ground.owner_only import tighten
from fedthorax.common.ground.wording import number_of
from fedthorax.server.consortium.admission import tell_superlink
from fedthorax.server.consortium.certificates import days_left, issue_loopback_certificate, read_pair
from fedthorax.server.consortium.control import ServerNotRunningError, flower_environment, write_connection
from fedthorax.server.consortium.folder import ConsortiumFolder, list_version, offer_invitation
from fedthorax.server.consortium.run_starter import RunStarter
from fedthorax.server.consortium.settings import ConsortiumSettings, refuse_plain_http, split_address

CONSORTIUM_VARIABLE = "FEDTHORAX_CONSORTIUM"
_ROUTINE = re.compile(r"\[uvicorn\.access\].* 200$|ControlServicer\.List")  # polls, thousands an hour
_RENEW_DAYS = 30
_CERTIFICATE_SECONDS = 10.0  # between two looks at its end
_FULL_DISK = re.compile(r"No space left on device|database or disk is full|Disk quota exceeded|Read-only file system")
_FULL_DISK_SECONDS = 300.0  # between two words of it
_LOOPBACK_DAYS = 1825  # a server is started again at least once in so many days


def start(
    folder: ConsortiumFolder,
    tell: Callable[[str], None],
    stop: threading.Event,
    insecure: bool = False,
    gateway: bool = True,
) -> None:
    """Serve the consortium until ``stop`` is set. Without ``gateway`` another one, such as nginx, has to be in front.

    RuntimeError if another process serves it; ValueError if plain HTTP is asked for where others could listen; OSError
    if a port is taken.
    """
    settings = folder.settings()
    if insecure:
        refuse_plain_http(settings)
    with locked(folder.path / ".server.lock", f"{folder.path}: another process serves this consortium already"):
        addresses = [settings.superlink_address, *([settings.gateway_address] if gateway else [])]
        for address in addresses:
            _require_free(address)
        if settings.unbound_calls:
            tell(f"calls of {', '.join(settings.unbound_calls)} need no signature of path and body (unbound_calls)")
        read_pair(folder.loopback_certificate, folder.loopback_key)
        read_pair(folder.server_certificate, folder.server_key)
        _tell_certificate(folder, tell, insecure)
        if days_left(folder.loopback_certificate) < _LOOPBACK_DAYS:
            issue_loopback_certificate(folder.loopback_certificate, folder.loopback_key)
        tighten(folder.path)
        offer_invitation(folder, settings)
        write_connection(folder)
        folder.audit.append("started", version=__version__, address=settings.address, insecure=insecure)
        ready = _Readiness(folder, settings, addresses, tell, certificates=not insecure)
        services = [superlink_service(folder, settings), *([gateway_service(folder, insecure)] if gateway else [])]
        starter = RunStarter(folder.path, settings.superlink_address, tell)
        heard = _DiskWatch(folder, tell).take
        services = [dataclasses.replace(service, on_line=heard) for service in services]

        def tick() -> None:
            ready.tick()
            starter.tick()

        def changed(pids: Mapping[str, int]) -> None:
            starter.watch(pids.get("superlink"))
            state = {
                "pid": os.getpid(),
                "services": dict(pids),
                "gateway": settings.gateway_address,
                "superlink": settings.superlink_address,
                "since": time.time(),
                "objects": gateway and not settings.unbound_calls,
            }
            write_json(folder.state, state)

        try:
            supervise(services, tell, stop, changed, tick)
        finally:
            folder.state.unlink(missing_ok=True)
            folder.audit.append("stopped")


def superlink_service(folder: ConsortiumFolder, settings: ConsortiumSettings) -> Service:
    """Flower's SuperLink on loopback: node authentication on, state on disk, nothing fetched, nothing reported."""
    return Service(
        name="superlink",
        command=(
            str(Path(sys.executable).with_name("flower-superlink")),
            "--host=127.0.0.1",
            f"--port={settings.superlink_port}",
            f"--ssl-ca-certfile={folder.loopback_certificate}",
            f"--ssl-certfile={folder.loopback_certificate}",
            f"--ssl-keyfile={folder.loopback_key}",
            "--enable-supernode-auth",
            f"--database={folder.database}",
            "--disable-runtime-dependency-installation",
        ),
        log=folder.logs / "superlink.log",
        folder=folder.path,  # where ServerApps work, too; nothing that could be taken for a module lies here
        environment=flower_environment(folder) | {CONSORTIUM_VARIABLE: str(folder.path)},
        unlogged=_ROUTINE,
    )


def gateway_service(folder: ConsortiumFolder, insecure: bool) -> Service:
    more = ("--insecure",) if insecure else ()
    return Service(
        name="gateway",
        command=(sys.executable, "-m", "fedthorax.server.consortium.gateway_process", str(folder.path), *more),
        log=folder.logs / "gateway.log",
        folder=folder.flower_home,
    )


def _require_free(address: str) -> None:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen at {address}: {error.strerror}; end what uses the port, or choose another in "
                "consortium.yaml"
            ) from None


def _tell_certificate(folder: ConsortiumFolder, tell: Callable[[str], None], insecure: bool) -> None:
    if insecure:
        tell("plain HTTP (--insecure): a TLS server of your own has to stand in front; SuperNodes refuse plain HTTP")
        return
    left = days_left(folder.server_certificate)
    if left < 0:
        raise ValueError(
            f"{folder.server_certificate}: ended {number_of(-left, 'day')} ago; renew it with `fedthorax server renew`"
        )
    _warn_of_end(left, tell)


def _warn_of_end(days: int, tell: Callable[[str], None]) -> None:
    if days < 0:
        tell("the server's certificate has ended: no hospital can connect; renew it with `fedthorax server renew`")
    elif days < _RENEW_DAYS:
        tell(f"the server's certificate ends in {number_of(days, 'day')}; renew it with `fedthorax server renew`")


class _DiskWatch:
    """Listens to the server's processes for the one fault whose reason they could write nowhere."""

    def __init__(self, folder: ConsortiumFolder, tell: Callable[[str], None]) -> None:
        self._folder, self._tell, self._next = folder, tell, 0.0

    def take(self, line: str) -> None:
        if _FULL_DISK.search(line) and time.monotonic() >= self._next:
            self._next = time.monotonic() + _FULL_DISK_SECONDS
            why = full_disk(self._folder.path) or f"the lead's disk takes no file ({self._folder.path})"
            self._tell(f"{why}; runs stand still or fail until then")


def serves_objects(folder: ConsortiumFolder) -> bool:
    """Whether the segments of models and updates may travel through the gateway, beside Flower's messages: ours is in
    front, and every hospital is one of `site start`."""
    try:
        return bool(json.loads(folder.state.read_text(encoding="utf-8"))["objects"])
    except (FileNotFoundError, KeyError, ValueError):  # no server, or one of before: messages carry them
        return False


class _Readiness:
    """Once the SuperLink answers, and whenever the list of hospitals has changed, it is told the list: a command that
    changed it may have been ended before it could. The person is told once that all is up."""

    def __init__(
        self,
        folder: ConsortiumFolder,
        settings: ConsortiumSettings,
        addresses: Sequence[str],
        tell: Callable[[str], None],
        certificates: bool = True,
    ) -> None:
        self._folder, self._settings, self._addresses, self._tell = folder, settings, addresses, tell
        self._told: tuple[int, int] | None = None  # which list the SuperLink knows
        self._problem = ""
        self._next = 0.0
        self._certificates = certificates
        self._days_left, self._next_look = days_left(folder.server_certificate), 0.0

    def tick(self) -> None:
        if self._certificates and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _CERTIFICATE_SECONDS
            with contextlib.suppress(OSError, ValueError):  # between the two files of a renewal
                if (left := days_left(self._folder.server_certificate)) != self._days_left:
                    self._days_left = left  # so it is said once a day
                    _warn_of_end(left, self._tell)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        try:
            present = list_version(self._folder)
            if present == self._told or not all(_answers(address) for address in self._addresses):
                return
            tell_superlink(self._folder)
        except ServerNotRunningError:
            return
        except (OSError, RuntimeError, ValueError) as error:  # it goes on serving whom the SuperLink knows
            if str(error) != self._problem:
                self._problem = str(error)
                self._tell(f"the SuperLink cannot be told the list of hospitals: {error}; tries go on")
            return
        if self._told is None:
            self._tell(f"{self._settings.name} is ready for hospitals at {self._settings.address}")
        self._told, self._problem = present, ""


def _answers(address: str) -> bool:
    host, port = split_address(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
