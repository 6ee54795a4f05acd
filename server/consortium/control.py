"""What the lead asks of the running SuperLink: Flower's control API, over loopback only.

Flower's own commands (``flwr supernode register``, ``flwr supernode list``, ``flwr list``, ``flwr stop``) do the same;
they take seconds to start and leave names and keys of nodes out of their JSON.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedthorax.common.consortium.keys import node_key
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.machine import full_disk
from fedthorax.server.consortium.folder import ConsortiumFolder
from fedthorax.server.consortium.settings import ConsortiumSettings

NO_PROXY = "127.0.0.1,localhost,::1"
CONNECTION = "consortium"
# How soon Flower starts the process of a new run. The SuperLink is asked all through the run.
_TASK_POLL_SECONDS = "1.0"


@dataclass(frozen=True)
class Node:
    """A hospital's key as the SuperLink knows it. ``online_until`` is Unix seconds, 0 if it never connected."""

    node_id: int
    name: str
    public_key: bytes
    status: str  # registered, online, offline or unregistered
    online_until: float


@dataclass(frozen=True)
class FlowerRun:
    """A run as Flower sees it; ``sub_status`` says how a finished one ended: completed, failed or stopped."""

    run_id: int
    status: str  # pending, starting, running or finished
    sub_status: str
    details: str

    @property
    def over(self) -> bool:
        return self.status.endswith("finished")


class ServerNotRunningError(ConnectionError):
    """The SuperLink does not answer at its loopback address."""


class Control:
    """One connection to the SuperLink; made by ``control``."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def nodes(self) -> tuple[Node, ...]:
        from flwr.proto.control_pb2 import ListNodesRequest

        answer = self._client.ListNodes(ListNodesRequest())
        return tuple(Node(n.node_id, n.name, n.public_key, n.status, n.online_until) for n in answer.nodes_info)

    def register(self, name: str, public_key: str) -> int:
        """Let the key connect, and return its node id; a key that is registered already keeps its own."""
        from flwr.proto.control_pb2 import RegisterNodeRequest

        key = node_key(public_key)
        for node in self.nodes():
            if node.public_key == key and node.status != "unregistered":
                return node.node_id
        answer = self._client.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
        return int(answer.node_id)

    def unregister(self, node_id: int) -> None:
        """Let the key of a registered node connect no more."""
        from flwr.proto.control_pb2 import UnregisterNodeRequest

        self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def run(self, run_id: int) -> FlowerRun | None:
        """None if the SuperLink knows no such run."""
        import httpx
        from flwr.proto.control_pb2 import ListRunsRequest

        try:
            answer = self._client.ListRuns(ListRunsRequest(run_id=run_id))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                return None
            raise
        run = answer.run_dict.get(run_id)
        return run and FlowerRun(run_id, run.status.status, run.status.sub_status, run.status.details)

    def begun(self, experiment: str) -> int | None:
        """The id of the run that was handed in with this ``experiment`` in its run-config; None if there is none among
        the newest 20."""
        from flwr.proto.control_pb2 import ListRunsRequest

        runs = self._client.ListRuns(ListRunsRequest()).run_dict.values()
        return next((run.run_id for run in runs if run.override_config["experiment"].string == experiment), None)

    def stop(self, run_id: int) -> bool:
        """False if the run could not be stopped, because it is over."""
        import httpx
        from flwr.proto.control_pb2 import StopRunRequest

        try:
            return bool(self._client.StopRun(StopRunRequest(run_id=run_id)).success)
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (400, 404, 409, 412):
                return False
            raise


@contextmanager
def control(folder: ConsortiumFolder, settings: ConsortiumSettings | None = None) -> Iterator[Control]:
    """Talk to the consortium's SuperLink. ServerNotRunningError if nobody answers there."""
    import httpx
    from flwr.supercore.control import ControlHttpClient

    settings = settings or folder.settings()
    spare_loopback()
    client = ControlHttpClient.from_server_address(
        settings.superlink_address,
        insecure=False,
        root_certificates=folder.loopback_certificate.read_bytes(),
        interceptors=(),
    )
    try:
        yield Control(client)
    except httpx.TransportError as error:
        raise ServerNotRunningError(
            f"{folder.path.name}: the consortium's server does not answer at {settings.superlink_address}; start it "
            f"with `fedthorax server start`{f'; {full}' if (full := full_disk(folder.path)) else ''}"
        ) from error
    except httpx.HTTPStatusError as error:
        refused = f"the SuperLink refused {error.request.url.path}: HTTP {error.response.status_code}"
        if full := full_disk(folder.path):
            raise RuntimeError(f"{full} ({refused})") from error
        raise RuntimeError(f"{refused}: {error.response.text.strip()[:300]}") from error
    finally:
        client.close()


def spare_loopback() -> None:
    """A proxy for the way out, which the environment may name, must not get what stays on this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        present = os.environ.get(name, "")
        if "127.0.0.1" not in present:
            os.environ[name] = f"{present},{NO_PROXY}".strip(",")


def flower_environment(folder: ConsortiumFolder) -> dict[str, str]:
    """The environment of every process of Flower's at the lead."""
    return {
        "FLWR_HOME": str(folder.flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _TASK_POLL_SECONDS,
        "NO_PROXY": NO_PROXY,
        "no_proxy": NO_PROXY,
        "PYTHONSAFEPATH": "1",
    }


def write_connection(folder: ConsortiumFolder) -> None:
    """``config.toml`` in the lead's FLWR_HOME, so that Flower's own commands reach the SuperLink without options."""
    address, root = (
        folder.settings().superlink_address,
        json.dumps(str(folder.loopback_certificate), ensure_ascii=False),
    )
    text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\naddress = "{address}"\n'
    write_text(folder.flower_home / "config.toml", f"{text}root-certificates = {root}\n")
