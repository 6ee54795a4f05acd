"""The lead's FLWR_HOME: how Flower's processes and commands are set up there."""

import json

from fedthorax.common.ground.atomic_write import write_text
from fedthorax.server.consortium.control import NO_PROXY
from fedthorax.server.consortium.folder import ConsortiumFolder

CONNECTION = "consortium"
# How soon Flower starts the process of a new run. The SuperLink is asked all through the run.
_TASK_POLL_SECONDS = "1.0"


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
    values = {
        "address": folder.settings().superlink_address,
        "root-certificates": str(folder.loopback_certificate),
    }
    lines = [
        "[superlink]",
        f'default = "{CONNECTION}"',
        "",
        f"[superlink.{CONNECTION}]",
        *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()),
    ]
    write_text(folder.flower_home / "config.toml", "\n".join(lines) + "\n")
