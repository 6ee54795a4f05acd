"""How the consortium stands: hospitals, their connections, the certificate, the latest runs."""

import datetime
import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedthorax.common.consortium.keys import fingerprint
from fedthorax.common.ground.events import read_events
from fedthorax.common.ground.machine import full_disk
from fedthorax.common.ground.progress import RunProgress
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.consortium.certificates import days_left
from fedthorax.server.consortium.control import Node, ServerNotRunningError, control
from fedthorax.server.consortium.folder import ConsortiumFolder, Hospital, read_hospitals
from fedthorax.server.consortium.members import read_last_seen
from fedthorax.server.consortium.runs import read_submissions
from fedthorax.server.consortium.settings import split_address

_GATEWAY_SECONDS = 5.0
_CONNECTED_SECONDS = 60  # a SuperNode sends a heartbeat every 30 s and, when idle, asks for work every 10 s


@dataclass(frozen=True)
class HospitalStatus:
    """One line of the list. ``last_seen`` is Unix seconds, None if it never called; ``data`` is what its newest run
    said of its images, None before its first run. ``asked`` are runs that wait for a person there, each with since
    when. ``passes``: how fast a model or an update is on its way, None where nothing is."""

    name: str
    state: str  # connected, not connected, never connected, revoked
    last_seen: float | None
    data: dict[str, Any] | None
    software_version: str | None
    fingerprint: str
    asked: dict[str, float]
    passes: str | None = None


@dataclass(frozen=True)
class ConsortiumStatus:
    """``running``: the SuperLink answers; ``gateway``: the gateway does, None where another one stands in
    front; ``full_disk`` where the lead's disk takes no file, and what to do. ``masked``: of the runs that go on under
    masks, whose sum the newest round is."""

    name: str
    address: str
    running: bool
    gateway: bool | None
    full_disk: str | None
    certificate_days: int
    authority_days: int
    hospitals: tuple[HospitalStatus, ...]
    masked: dict[str, str]


def consortium_status(folder: ConsortiumFolder) -> ConsortiumStatus:
    settings, full = folder.settings(), full_disk(folder.path)
    try:
        with control(folder, settings) as link:
            nodes: dict[int, Node] | None = {node.node_id: node for node in link.nodes()}
    except (ServerNotRunningError, RuntimeError) as error:
        if full is None and not isinstance(error, ServerNotRunningError):
            raise
        nodes = None
    seen, described, (asked, passes, masked) = read_last_seen(folder), _described(folder), _under_way(folder)
    through_gateway = _has_gateway(folder)
    return ConsortiumStatus(
        name=settings.name,
        address=settings.address,
        running=nodes is not None,
        gateway=_answers(settings.gateway_address) if through_gateway else None,
        full_disk=full,
        certificate_days=days_left(folder.server_certificate),
        authority_days=days_left(folder.ca_certificate),
        hospitals=tuple(
            HospitalStatus(
                name=hospital.name,
                state=_state(hospital, nodes, seen.get(hospital.name), through_gateway),
                last_seen=seen.get(hospital.name),
                data=described.get(hospital.name, {}).get("data"),
                software_version=described.get(hospital.name, {}).get("software_version") or hospital.software_version,
                fingerprint=fingerprint(hospital.public_key),
                asked=asked.get(hospital.name, {}),
                passes=passes.get(hospital.name),
            )
            for hospital in read_hospitals(folder)
        ),
        masked=masked,
    )


def _state(hospital: Hospital, nodes: dict[int, Node] | None, seen: float | None, through_gateway: bool) -> str:
    if hospital.revoked:
        return "revoked"
    if nodes is None:
        return "not connected"
    node = nodes.get(hospital.node_id or 0)
    online = node is not None and node.status == "online"
    # The SuperLink takes a node for connected until its heartbeats were missing for a minute; the gateway knows better.
    if online and (not through_gateway or (seen is not None and time.time() - seen < _CONNECTED_SECONDS)):
        return "connected"
    return "never connected" if seen is None else "not connected"


def _answers(address: str) -> bool:
    """Whether somebody there begins a conversation; one that stands still does not."""
    try:
        ssl.get_server_certificate(split_address(address), timeout=_GATEWAY_SECONDS)
    except (ssl.SSLError, ConnectionResetError):
        return True  # in plain HTTP (--insecure)
    except OSError:
        return False
    return True


def _has_gateway(folder: ConsortiumFolder) -> bool:
    try:
        return "gateway" in json.loads(folder.state.read_text(encoding="utf-8"))["services"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _described(folder: ConsortiumFolder) -> dict[str, dict[str, Any]]:
    """What the newest run that heard of each hospital's data wrote down, by the hospital's name."""
    found: dict[str, dict[str, Any]] = {}
    for submission in reversed(read_submissions(folder)):
        try:
            metrics = json.loads((Path(submission.run_folder) / "metrics.json").read_text(encoding="utf-8"))
            sites = metrics["sites"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for name, entry in sites.items():
            if isinstance(entry, dict) and entry.get("data") is not None:
                found.setdefault(name, entry)
    return found


def _under_way(folder: ConsortiumFolder) -> tuple[dict[str, dict[str, float]], dict[str, str], dict[str, str]]:
    """Of the runs that go on, by hospital: those that wait for a person there, and how fast bytes pass; by run whose
    sum its newest round is, under masks."""
    found, passes, masked = dict[str, dict[str, float]](), dict[str, str](), dict[str, str]()
    for path in dict.fromkeys(Path(submission.run_folder) for submission in read_submissions(folder)):
        if not (path / "events.jsonl").is_file() or RunFolder(path).how_it_ended() is not None:
            continue
        progress = RunProgress()
        for event in read_events(path / "events.jsonl", 0)[0]:
            progress.apply(event)
        if progress.masks is not None:
            masked[progress.name] = progress.masks
        for name, site in progress.sites.items():
            if site.state == "approval" and site.failure is None:
                found.setdefault(name, {})[progress.name] = site.since
            elif site.passes:
                passes[name] = f"{site.words} ({site.amount})"
    return found, passes, masked


def ago(moment: float | None, now: float | None = None) -> str:
    """``3 s ago``, ``5 min ago``, ``2 h ago``, or the date."""
    if moment is None:
        return "never"
    seconds = max((time.time() if now is None else now) - moment, 0.0)
    for limit, unit, word in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {word} ago"
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d")
