"""The folder of a consortium at its lead: what lies where, and the list of hospitals.

::

    NAME/
      consortium.yaml   settings
      invitation.json   for every hospital; holds no secret
      hospitals.json    the list of hospitals: name, public key, Flower's node id, admitted, revoked
      audit.jsonl       hash-chained: who was admitted, refused, revoked; when certificates changed
      pki/              ca, server and loopback: .crt and .key; keys are readable by their owner alone
      superlink.db      Flower's state
      flwr/             FLWR_HOME of everything that the lead runs
      submissions/      experiments as they were submitted; submissions.jsonl lists them
      runs/             run folders
      statistics/       what the hospitals told in numbers, one file a query (`fedthorax stats --consortium`)
      logs/             superlink.log gateway.log
      server.json       process ids and ports while the server runs
      mail.bell         its time says when messages for hospitals were last handed to the SuperLink
      reply.bell        and when a hospital has last sent something of a reply
      objects/          while a round is open: models on their way to hospitals, updates on their way back (objects.py)
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedthorax import __version__
from fedthorax.common.config.load import read_settings
from fedthorax.common.consortium.invitation import Invitation
from fedthorax.common.ground.atomic_write import write_json, write_text
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.inside import Inside
from fedthorax.common.ground.lock import locked
from fedthorax.common.ground.owner_only import only_for_owner
from fedthorax.server.consortium.certificates import (
    create_authority,
    days_left,
    issue_loopback_certificate,
    issue_server_certificate,
)
from fedthorax.server.consortium.settings import ConsortiumSettings, split_address


@dataclass(frozen=True)
class Hospital:
    """One hospital of the list. ``node_id`` is Flower's number for its key; None until the server has registered it."""

    name: str
    public_key: str
    node_id: int | None = None
    revoked: bool = False
    admitted_at: str | None = None
    revoked_at: str | None = None
    software_version: str | None = None
    former_keys: tuple[str, ...] = ()
    identity: str | None = None


@dataclass(frozen=True)
class ConsortiumFolder:
    """Where things lie below ``path``, which is absolute."""

    path: Path
    settings_file = Inside("consortium.yaml")
    ca_certificate = Inside("pki", "ca.crt")
    ca_key = Inside("pki", "ca.key")
    server_certificate = Inside("pki", "server.crt")
    server_key = Inside("pki", "server.key")
    loopback_certificate = Inside("pki", "loopback.crt")
    loopback_key = Inside("pki", "loopback.key")
    hospitals = Inside("hospitals.json")
    invitation = Inside("invitation.json")
    database = Inside("superlink.db")
    flower_home = Inside("flwr")
    runs = Inside("runs")
    statistics = Inside("statistics")
    logs = Inside("logs")
    state = Inside("server.json")
    last_seen = Inside("last_seen.json")
    mail_bell = Inside("mail.bell")
    reply_bell = Inside("reply.bell")
    objects = Inside("objects")

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.path / "audit.jsonl")

    def settings(self) -> ConsortiumSettings:
        return read_settings(self.settings_file, ConsortiumSettings)


def create_consortium(settings_file: Path, path: Path | None = None) -> ConsortiumFolder:
    """A new folder for the consortium that ``settings_file`` describes; by default one of its name, here.

    Its list of hospitals is empty. FileExistsError if the folder holds anything.
    """
    only_for_owner()
    settings = read_settings(settings_file, ConsortiumSettings)
    folder = ConsortiumFolder((path or Path(settings.name)).absolute())
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise FileExistsError(f"{folder.path} is there already and not an empty folder; choose another --folder")
    made_here = not folder.path.exists()
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.path.chmod(0o700)  # it may have been there, as the volume of a container
        for sub in (folder.ca_key.parent, folder.flower_home, folder.logs, folder.runs):
            sub.mkdir()
        write_text(folder.settings_file, settings_file.read_text(encoding="utf-8"))
        create_authority(settings.name, folder.ca_certificate, folder.ca_key)
        _issue(folder, settings)
        issue_loopback_certificate(folder.loopback_certificate, folder.loopback_key)
        _write(folder, _Register((), ()))
        offer_invitation(folder, settings)
        folder.audit.append("created", consortium=settings.name, address=settings.address, version=__version__)
    except BaseException:
        if made_here:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder


def open_consortium(path: Path | None = None) -> ConsortiumFolder:
    """The consortium in ``path``; without one, in the working directory or in the only folder of it that is one."""
    only_for_owner()
    if path is not None:
        if not is_consortium(path):
            raise FileNotFoundError(
                f"{path}: not a consortium's folder; expected one that `fedthorax server init` made, with "
                "consortium.yaml and hospitals.json in it"
            )
        return ConsortiumFolder(path.absolute())
    here = Path.cwd()
    found = [here] if is_consortium(here) else sorted(p for p in here.iterdir() if p.is_dir() and is_consortium(p))
    if not found:
        raise FileNotFoundError(
            "no consortium's folder here; go into it, name it with --folder, or make one with `fedthorax server init`"
        )
    if len(found) > 1:
        raise ValueError(f"several consortia here: {', '.join(p.name for p in found)}; choose one with --folder")
    return ConsortiumFolder(found[0])


def is_consortium(path: Path) -> bool:
    return (path / "consortium.yaml").is_file() and (path / "hospitals.json").is_file()


def certificate_names(settings: ConsortiumSettings) -> tuple[str, ...]:
    """The address's host first, then the others."""
    return tuple(dict.fromkeys((split_address(settings.address)[0], *settings.other_names)))


@dataclass(frozen=True)
class Renewal:
    """Days for which the server's certificate and the authority are good now."""

    certificate_days: int
    authority_days: int


def renew(folder: ConsortiumFolder, authority: bool = False) -> Renewal:
    """A new server certificate for the names in consortium.yaml, which may have changed; with ``authority`` a new
    authority as well, and a new invitation. The gateway takes it for new connections, present ones go on.

    After that, hospitals that know the old authority connect as before until it ends, because the server shows them
    the new one as signed by the old; they put in the new invitation at leisure.
    """
    settings = folder.settings()
    with changing_hospitals(folder):
        _issue(folder, settings, settings.name if authority else "")
        offer_invitation(folder, settings)
        done = Renewal(days_left(folder.server_certificate), days_left(folder.ca_certificate))
        folder.audit.append("certificate_renewed", authority=authority, days=done.certificate_days)
    return done


def _issue(folder: ConsortiumFolder, settings: ConsortiumSettings, renewed: str = "") -> None:
    authority = (folder.ca_certificate, folder.ca_key)
    names, days = certificate_names(settings), settings.certificate_days
    issue_server_certificate(names, days, authority, folder.server_certificate, folder.server_key, renewed)


def offer_invitation(folder: ConsortiumFolder, settings: ConsortiumSettings) -> None:
    """``invitation.json`` as it is true now."""
    write_json(
        folder.invitation,
        Invitation(
            consortium=settings.name,
            address=settings.address,
            ca_certificate=folder.ca_certificate.read_text(encoding="ascii"),
            software_version=__version__,
        ),
    )


@dataclass(frozen=True)
class _Register:
    """hospitals.json as a value."""

    hospitals: tuple[Hospital, ...]
    nonces: tuple[str, ...]  # of every registration file that was admitted


def read_hospitals(folder: ConsortiumFolder) -> tuple[Hospital, ...]:
    """All hospitals that were ever admitted, in the order of their admission, revoked ones included."""
    return _read(folder).hospitals


def list_version(folder: ConsortiumFolder) -> tuple[int, int]:
    """Another one whenever hospitals.json was replaced."""
    status = folder.hospitals.stat()
    return status.st_mtime_ns, status.st_ino


def require_admitted(folder: ConsortiumFolder, names: Iterable[str]) -> None:
    """ValueError where an experiment names a hospital that is not admitted."""
    admitted = [one.name for one in read_hospitals(folder) if not one.revoked]
    if strangers := sorted({*names} - {*admitted}):
        raise ValueError(
            f"data.hospitals names {', '.join(strangers)}, not admitted to this consortium; admitted are "
            f"{', '.join(admitted) or 'none'}"
        )


def read_nonces(folder: ConsortiumFolder) -> frozenset[str]:
    """The nonces of all registration files that were admitted."""
    return frozenset(_read(folder).nonces)


def changing_hospitals(folder: ConsortiumFolder) -> AbstractContextManager[None]:
    """Held while the list is read, changed and written: several commands may run at once."""
    return locked(folder.path / ".hospitals.lock")


def write_hospitals(folder: ConsortiumFolder, hospitals: Sequence[Hospital], nonce: str | None = None) -> None:
    """Replace the list, and remember ``nonce``; call within ``changing_hospitals``."""
    nonces = _read(folder).nonces
    _write(folder, _Register(tuple(hospitals), (*nonces, nonce) if nonce is not None else nonces))


def _read(folder: ConsortiumFolder) -> _Register:
    path = folder.hospitals
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != 1:
            raise ValueError(f"has format {value['format']}, but this version of FedThorax reads 1")
        hospitals = tuple(
            Hospital(
                name=name,
                revoked=entry["revoked_at"] is not None,
                former_keys=tuple(entry.get("former_keys", ())),
                identity=entry.get("identity"),
                **{key: entry[key] for key in _STORED},
            )
            for name, entry in value["hospitals"].items()
        )
        return _Register(hospitals, tuple(value["nonces"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not a list of hospitals: {what}; restore it from the backup") from error


_STORED = ("public_key", "node_id", "admitted_at", "revoked_at", "software_version")


def _write(folder: ConsortiumFolder, register: _Register) -> None:
    entries: dict[str, Any] = {}
    for hospital in register.hospitals:
        values = asdict(hospital)
        entries[hospital.name] = {key: values[key] for key in _STORED} | {
            "former_keys": list(hospital.former_keys),
            "identity": hospital.identity,
        }
    value = {"format": 1, "hospitals": entries, "nonces": list(register.nonces)}
    write_json(folder.hospitals, value)
