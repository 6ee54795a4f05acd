"""Keeping a hospital's processes up: the site worker, Flower's SuperNode, and what runs the ClientApps.

Three identities (docs/hospital.md): the SuperNode holds the key, the worker the images, and what the consortium sends
runs as a third user who holds nothing. Without users in site.yaml all three are the one who starts the site.
"""

import contextlib
import grp
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from fedthorax.client.site.about import server_fault
from fedthorax.client.site.carriage import STANDS_STILL
from fedthorax.client.site.clientapps import TASK_BELL
from fedthorax.client.site.connection import Connection
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.heartbeat import watch_heartbeat
from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.setup import require_private_key
from fedthorax.client.site.task_desk import CANNOT_WRITE, OWN_DISK
from fedthorax.client.site.worker_client import mirror_events, worker_answers
from fedthorax.client.site.worker_service import socket_path
from fedthorax.common.consortium.supervision import Service, supervise
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes, write_text
from fedthorax.common.ground.lock import locked
from fedthorax.common.ground.owner_only import tighten

_FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "3",  # seconds until a task is begun whose bell was not heard
    "PYTHONSAFEPATH": "1",  # what lies in the working directory is not imported
}
# glibc's malloc gives freed models back to the system at once instead of scattering them over a heap for each thread
# (docs/soak.md).
_GIVE_BACK = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # ClientApps are forked, and compute nothing
_NEVER_PROXIED = "127.0.0.1,localhost,::1"  # Flower's own calls between its processes on this machine


def run_site(folder: SiteFolder, settings: SiteSettings, tell: Callable[[str], None], stop: threading.Event) -> None:
    """Keep the hospital running until ``stop`` is set. BlockingIOError where it runs already; PermissionError where
    site.yaml names users and this is not root."""
    require_private_key(folder)
    folder.make()
    # Two supervisors would fight over the socket and the key.
    with locked(folder.lock, f"{folder.path}: the site is running already; stop the other one first"):
        folder.processes.unlink(missing_ok=True)  # of a supervisor that was killed
        _share_out(folder, settings)
        connection = Connection(settings.server, tell, stop)
        services = site_services(folder, settings, connection, tell)
        facts, present = node_facts(folder, settings), dict[str, int]()

        def changed(pids: Mapping[str, int]) -> None:
            present.clear()
            present.update(pids)
            write_text(folder.processes, json.dumps({"supervisor": os.getpid(), **pids}) + "\n")

        def told(text: str) -> None:
            if not connection.explains(text):
                tell(text)

        fault = partial(server_fault, folder, settings)
        threading.Thread(target=connection.look, args=(fault,), name="look", daemon=True).start()
        if settings.worker is not None:
            arguments = (facts, folder.events, stop)
            threading.Thread(target=mirror_events, args=arguments, name="mirror", daemon=True).start()
        else:
            asked = (partial(worker_answers, facts), lambda: present.get("worker"), tell, stop)
            threading.Thread(target=watch_heartbeat, args=asked, name="heartbeat", daemon=True).start()
        try:
            supervise(services, told, stop, changed)
        finally:
            folder.processes.unlink(missing_ok=True)


def site_services(
    folder: SiteFolder, settings: SiteSettings, connection: Connection, tell: Callable[[str], None]
) -> list[Service]:
    """The processes in the order in which they start."""
    users, port = settings.users, _free_port()
    services = []

    def take(line: str) -> None:
        if line.startswith((CANNOT_WRITE, OWN_DISK)):
            tell(line)

    if settings.worker is None:
        worker = (sys.executable, "-m", "fedthorax.cli.main", "site", "worker", "--folder", str(folder.path))
        services.append(_service(folder, "worker", worker, users.worker, users.group, {}, take))

    def stands_still(line: str) -> None:
        if STANDS_STILL in line:
            tell(line)

    supernode = _supernode(folder, settings, port)
    bell = {TASK_BELL: str(folder.run / "task.bell")}
    environment = network_environment(settings) | _GIVE_BACK | bell
    services.append(
        _service(folder, "supernode", supernode, users.supernode, users.group, environment, connection.take)
    )
    services.append(
        _service(folder, "carrier", _carrier(folder, settings), users.supernode, users.group, environment, stands_still)
    )
    clientapps = [sys.executable, "-m", "fedthorax.client.site.clientapps", "--insecure"]
    clientapps += ["--runtime-api-address", f"127.0.0.1:{port}"]
    clientapps += ["--superexec-auth-secret-file", str(_secret_file(folder))]
    services.append(_service(folder, "clientapp", tuple(clientapps), users.clientapp, users.group, _ONE_THREAD | bell))
    return services


def restart_supernode(folder: SiteFolder) -> bool:
    """Have the supervisor start the SuperNode anew, with the key and certificate that are there now; False if the site
    does not run: a supervisor that was killed has left numbers that are other processes' by now."""
    try:
        with locked(folder.lock, "it runs"):
            return False
    except BlockingIOError:  # it runs
        pass
    try:
        pid = int(json.loads(folder.processes.read_text(encoding="utf-8"))["supernode"])
        os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, KeyError, ValueError, ProcessLookupError):
        return False
    return True


def _supernode(folder: SiteFolder, settings: SiteSettings, port: int) -> tuple[str, ...]:
    facts = node_facts(folder, settings)
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in facts.items()]
    write_text(folder.run / "node.toml", "".join(lines))
    write_text(folder.run / "task.bell", "")
    if settings.users.supernode is not None:
        user = pwd.getpwnam(settings.users.supernode).pw_uid
        for name in ("node.toml", "task.bell"):
            os.chown(folder.run / name, user, -1, follow_symlinks=False)  # the folder is the worker's
    command = [sys.executable, "-m", "fedthorax.client.site.supernode_process"]
    command += ["--superlink", settings.server, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--root-certificates", str(folder.ca_certificate)]
    command += ["--auth-supernode-private-key", str(folder.private_key)]
    command += ["--node-config", str(folder.run / "node.toml")]
    command += ["--isolation", "process", "--superexec-auth-secret-file", str(_secret_file(folder))]
    return tuple(command)


def _carrier(folder: SiteFolder, settings: SiteSettings) -> tuple[str, ...]:
    command = [sys.executable, "-m", "fedthorax.client.site.carrier", "--server", settings.server]
    command += ["--root-certificates", str(folder.ca_certificate), "--private-key", str(folder.private_key)]
    command += ["--node-config", str(folder.run / "node.toml")]
    if settings.limits.mbit_per_s is not None:
        command += ["--mbit-per-s", str(settings.limits.mbit_per_s)]
    return tuple(command)


def node_facts(folder: SiteFolder, settings: SiteSettings) -> dict[str, str]:
    """What the ClientApp learns of this node: how to reach the worker, and nothing else."""
    facts = {"name": settings.name}
    if settings.worker is None:
        facts["socket"] = str(socket_path(folder, settings))
    else:
        remote = settings.worker
        facts["worker"] = remote.address
        facts |= {f"worker-{key}": str(getattr(remote, key)) for key in ("ca", "certificate", "key")}
    return facts


def network_environment(settings: SiteSettings) -> dict[str, str]:
    """Flower's client goes through HTTPS_PROXY where there is one; never to its own neighbours on this machine."""
    spared = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", _NEVER_PROXIED]
    no_proxy = ",".join(part for part in spared if part)
    environment = {"NO_PROXY": no_proxy, "no_proxy": no_proxy}
    proxy = settings.https_proxy or os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    return environment | ({"HTTPS_PROXY": proxy, "https_proxy": proxy} if proxy else {})


def _service(
    folder: SiteFolder,
    name: str,
    command: tuple[str, ...],
    user: str | None,
    group: str | None,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] | None = None,
) -> Service:
    home = folder.flower / name
    home.mkdir(parents=True, exist_ok=True)
    environment = _FLOWER | {"FLWR_HOME": str(home), **environment}
    if user is not None:
        _require_root(f"users.{name}")
        shutil.chown(home, user)
        environment |= {"HOME": str(home)}
    log = folder.logs / f"{name}.log"
    return Service(name, command, log, home, environment, on_line, user=user or "", group=group or "")


def _share_out(folder: SiteFolder, settings: SiteSettings) -> None:
    """Give every part of the folder to the one user who needs it."""
    tighten(folder.path, folder.public(settings.name))
    users = settings.users
    named = {key: getattr(users, key) for key in ("supernode", "clientapp", "worker") if getattr(users, key)}
    for key, user in named.items():
        _require_root(f"users.{key}")
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise ValueError(f"users.{key}: this machine has no user {user!r}") from None
    if len(set(named.values())) < len(named):
        raise ValueError("users: supernode, clientapp and worker must be three different users")
    if users.group is not None:
        try:
            grp.getgrnam(users.group)
        except KeyError:
            raise ValueError(f"users.group: this machine has no group {users.group!r}") from None
    if users.supernode is not None:
        _chown_all(folder.keys, users.supernode)
    if users.worker is not None:
        folder.egress.touch(mode=0o600)
        shutil.chown(folder.settings, group=pwd.getpwnam(users.worker).pw_gid)  # it reads them and may not write them
        folder.settings.chmod(0o640)
        for path in (folder.egress, folder.state, folder.results, folder.run):
            _chown_all(path, users.worker)
    if users.group is not None:
        shutil.chown(folder.run, group=users.group)
        folder.run.chmod(0o750)
    if named:  # each has a way to what is its own
        for path in (folder.path, folder.flower):
            path.chmod(0o711)
    if users.worker is not None:
        shutil.chown(folder.path, group=pwd.getpwnam(users.worker).pw_gid)
        folder.path.chmod(0o751)  # the worker looks into it as well
    secret = _secret_file(folder)
    write_bytes(secret, (secrets.token_bytes(32),), PRIVATE)
    if named:
        secret.chmod(0o640 if users.group else PRIVATE)
        shutil.chown(secret, users.supernode or os.geteuid(), users.group or os.getegid())


def _chown_all(path: Path, user: str) -> None:
    """Whoever is ``user`` may have put links here, and this is root: none is followed, nor a second name of a file."""
    number = pwd.getpwnam(user).pw_uid
    for one in (path, *path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            status = one.lstat()
            if status.st_uid != number and (stat.S_ISDIR(status.st_mode) or status.st_nlink == 1):
                os.chown(one, number, -1, follow_symlinks=False)


def _secret_file(folder: SiteFolder) -> Path:
    return folder.flower / "superexec.secret"


def _require_root(key: str) -> None:
    if os.geteuid() != 0:
        raise PermissionError(f"{key} names another user, which needs root: start the site as root, or as a service")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
