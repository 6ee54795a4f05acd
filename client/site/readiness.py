"""``fedthorax site check``: whether this hospital could take part now, and in plain words what stands in the way."""

import datetime
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import psutil

from fedthorax import __version__
from fedthorax.client.site.about import About, ask_about, authority_ends, behind_gateway
from fedthorax.client.site.data_check import Bar, Mark, data_findings, no_bar
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.participation import Participation
from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.setup import require_private_key
from fedthorax.client.site.worker_service import socket_path
from fedthorax.common.config import Experiment
from fedthorax.common.ground.wording import number_of

MOST_CLOCK_SKEW_S = 5.0  # SYSTEM_TIME_TOLERANCE of Flower, which refuses a time that is further ahead; a test compares
LEAST_DISK_MB = 2048
LEAST_MEMORY_MB = 2560  # a site took 1.6 GiB with frozen backbones (docs/results.md); more where everything is trained


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``words`` say what was found, and at a problem what to do."""

    subject: str
    level: Mark
    words: str


Check = Callable[[SiteFolder, SiteSettings], Iterator[Finding]]


def check_site(
    folder: SiteFolder, settings: SiteSettings, experiment: Experiment | None = None, bar: Bar = no_bar
) -> Iterator[Finding]:
    """All findings, as they are made. With an experiment the images are checked as a run of it would take them; ``bar``
    shows how far the reading of images is."""
    checks: list[tuple[str, Check]] = [("key", _key), ("socket", _socket)]
    for subject, check in checks:
        yield from _caught(subject, check, folder, settings)
    yield from _caught("images", lambda f, s: starmap(Finding, data_findings(f, s, experiment, bar)), folder, settings)
    for subject, check in (("disk", _disk), ("memory", _memory), ("server", _server), ("participation", _standing)):
        yield from _caught(subject, check, folder, settings)


def _caught(subject: str, check: Check, folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    try:
        yield from check(folder, settings)
    except (OSError, ValueError, RuntimeError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        yield Finding(subject, "problem", words)


def _key(folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    yield Finding("key", "good", f"{require_private_key(folder)}, readable by its owner alone")
    users = settings.users
    if users.worker is None or users.clientapp is None or users.supernode is None:
        yield Finding(
            "users",
            "warning",
            "what the consortium sends runs as the user who holds the key and the images; docs/hospital.md says how to "
            "give the three processes users of their own",
        )


def _socket(folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    if settings.worker is None:
        yield Finding("socket", "good", str(socket_path(folder, settings)))
        return
    for name in ("ca", "certificate", "key"):
        path: Path = getattr(settings.worker, name)
        if not path.is_file():
            raise FileNotFoundError(f"worker.{name}: {path}: no such file; see `fedthorax site worker-certificates`")
    yield Finding("worker", "good", f"on another host, {settings.worker.address}")


def _disk(folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    for subject, path in (("disk", folder.state), ("disk of the cache", settings.cache.folder)):
        if path is None:
            continue
        place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        free = shutil.disk_usage(place).free >> 20
        if not os.access(place, os.W_OK):
            raise PermissionError(f"{place}: this user may not write there")
        words = f"{free} MiB free at {place}"
        if free < LEAST_DISK_MB:
            yield Finding(subject, "problem", f"{words}; replies and models need {LEAST_DISK_MB} MiB, so make room")
        else:
            yield Finding(subject, "good", words)


def _memory(folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    if settings.worker is not None:
        return
    free, needed = psutil.virtual_memory().available >> 20, LEAST_MEMORY_MB + settings.cache.memory_mb
    words = f"{free} MiB available"
    if free < LEAST_MEMORY_MB:
        yield Finding("memory", "problem", f"{words}; training needs about {LEAST_MEMORY_MB} MiB")
    elif free < needed:
        yield Finding(
            "memory", "warning", f"{words}; with cache.memory_mb full it may take {needed} MiB, so lower that"
        )
    else:
        yield Finding("memory", "good", words)


def _server(folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    about = ask_about(folder, settings)
    if fault := behind_gateway(about, settings):
        yield Finding("server", "problem", fault)
    else:
        yield Finding("server", "good", f"{settings.server} reached{about.way} in {1000 * about.seconds:.0f} ms")
    yield _certificate(folder)
    if about.consortium != settings.consortium:
        words = f"the server belongs to {about.consortium}, the invitation to {settings.consortium}"
        yield Finding("consortium", "problem", f"{words}; ask the lead")
    yield _version(about.software_version)
    yield _clock(about)


def _certificate(folder: SiteFolder) -> Finding:
    days = (authority_ends(folder) - datetime.datetime.now(datetime.UTC)).days
    words = f"the server's was signed by the consortium's authority, whose own is valid for {number_of(days, 'day')}"
    if days < 30:
        return Finding("certificate", "warning", f"{words}; ask the lead for a new invitation, then site renew")
    return Finding("certificate", "good", words)


def _version(theirs: str) -> Finding:
    words = f"FedThorax {__version__} here, {theirs} at the server"
    if theirs.split(".")[:2] != __version__.split(".")[:2]:
        return Finding("version", "problem", f"{words}; both sides need the same one, and the run will be refused")
    return Finding("version", "good" if theirs == __version__ else "warning", words)


def _clock(about: About) -> Finding:
    """The server's clock against ours, taken for the middle of the request."""
    if about.clock is None:
        return Finding("clock", "warning", "the server does not say what time it is")
    skew = about.asked + about.seconds / 2 - about.clock
    words = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the server's"
    if abs(skew) > MOST_CLOCK_SKEW_S:
        words += f", and at most {MOST_CLOCK_SKEW_S:g} s either way are allowed: set the clock (NTP)"
        return Finding("clock", "problem", words)
    return Finding("clock", "good", words)


def _standing(folder: SiteFolder, settings: SiteSettings) -> Iterator[Finding]:
    standing = Participation(folder.state).standing
    if standing != "takes part":
        yield Finding("participation", "warning", f"{standing}; `fedthorax site resume` takes part again")
        return
    how = {
        "always": "in every run, by itself",
        "ask": "in each run that a person approves (fedthorax site approve RUN)",
        "named": f"in {', '.join(settings.runs)} only",
    }
    yield Finding("participation", "good", how[settings.participation])
