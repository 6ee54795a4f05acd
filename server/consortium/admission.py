"""Who belongs to the consortium: hospitals are admitted, change their key, and are revoked."""

import dataclasses
import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.consortium.keys import fingerprint
from fedthorax.common.consortium.registration import Registration, read_registration
from fedthorax.common.consortium.roster import RosterFile
from fedthorax.common.ground.names import same_look
from fedthorax.server.consortium.control import ServerNotRunningError, control
from fedthorax.server.consortium.folder import (
    ConsortiumFolder,
    Hospital,
    changing_hospitals,
    read_hospitals,
    read_nonces,
    write_hospitals,
)


@dataclass(frozen=True)
class Admission:
    """What came of a registration file. ``connectable`` is False until the server has told the SuperLink."""

    hospital: Hospital
    fingerprint: str
    replaced_key: bool
    connectable: bool


def admit(folder: ConsortiumFolder, file: Path, expected_fingerprint: str | None = None) -> Admission:
    """Put the hospital of a registration file on the list, and tell the SuperLink if it runs.

    A name that is on the list keeps it only with the signature of its present key. ValueError says why a file is
    refused; the refusal is written into the audit log.
    """
    try:
        registration = read_registration(file)
    except ValueError as error:
        with file.open("rb") as sent:  # it may be larger than memory
            digest = hashlib.file_digest(sent, "sha256").hexdigest()
        folder.audit.append("refused", file=file.name, sha256=digest, reason=str(error).splitlines()[0])
        raise
    mark = fingerprint(registration.public_key)
    with changing_hospitals(folder):
        hospitals = read_hospitals(folder)
        reason = _refusal(registration, hospitals, read_nonces(folder), expected_fingerprint)
        if reason is not None:
            folder.audit.append("refused", name=registration.name, fingerprint=mark, reason=reason)
            raise ValueError(f"{file}: {reason}")
        present = next((h for h in hospitals if h.name == registration.name), None)
        hospital = Hospital(
            name=registration.name,
            public_key=registration.public_key,
            admitted_at=_now(),
            software_version=registration.software_version,
            former_keys=(*present.former_keys, present.public_key) if present else (),
            identity=registration.identity or (present.identity if present else None),
        )
        others = [h for h in hospitals if h.name != hospital.name]
        replaced = present is not None and not present.revoked
        folder.audit.append(  # first: where it cannot be written nobody is admitted, and the file can come again
            "key_changed" if replaced else "admitted",
            name=hospital.name,
            fingerprint=mark,
            software_version=hospital.software_version,
        )
        write_hospitals(folder, [*others, hospital], registration.nonce)
    connectable = _told(folder)
    hospital = next(h for h in read_hospitals(folder) if h.name == hospital.name)
    return Admission(hospital, mark, replaced, connectable)


def roster(folder: ConsortiumFolder, consortium: str) -> tuple[RosterFile, list[str]]:
    """The identities of all admitted hospitals, for masking, and the names of those that have told none."""
    admitted = [hospital for hospital in read_hospitals(folder) if not hospital.revoked]
    told = {hospital.name: hospital.identity for hospital in admitted if hospital.identity}
    return RosterFile(consortium=consortium, hospitals=told), [h.name for h in admitted if not h.identity]


def revoke(folder: ConsortiumFolder, name: str) -> bool:
    """Shut a hospital out from now on; the gateway sees it with the next request.

    Returns whether the SuperLink knows as well; if it does not answer the server tells it once it does. ValueError if
    no such hospital is on the list.
    """
    with changing_hospitals(folder):
        hospitals = read_hospitals(folder)
        found = next((h for h in hospitals if h.name == name), None)
        if found is None or found.revoked:
            known = ", ".join(h.name for h in hospitals if not h.revoked) or "none"
            what = "is revoked already" if found else "is not on the list"
            raise ValueError(f"hospital {name!r} {what}; admitted hospitals: {known}")
        revoked = dataclasses.replace(found, revoked=True, revoked_at=_now())
        write_hospitals(folder, [revoked if h is found else h for h in hospitals])
        folder.audit.append("revoked", name=name, fingerprint=fingerprint(found.public_key))
    return _told(folder)


def tell_superlink(folder: ConsortiumFolder) -> None:
    """Make the SuperLink's nodes those of the list: register admitted keys, unregister all others.

    ServerNotRunningError if it does not answer.
    """
    with changing_hospitals(folder), control(folder) as link:
        hospitals = read_hospitals(folder)
        kept = []
        for hospital in hospitals:
            if hospital.revoked:
                kept.append(hospital)
            else:
                node_id = link.register(hospital.name, hospital.public_key)
                kept.append(dataclasses.replace(hospital, node_id=node_id))
        if tuple(kept) != hospitals:
            write_hospitals(folder, kept)
        admitted = {hospital.node_id for hospital in kept if not hospital.revoked}
        for node in link.nodes():
            if node.node_id not in admitted and node.status != "unregistered":
                link.unregister(node.node_id)
                folder.audit.append("node_removed", name=node.name, node_id=node.node_id)


def _told(folder: ConsortiumFolder) -> bool:
    try:
        tell_superlink(folder)
    except (ServerNotRunningError, RuntimeError):  # the server tells it as soon as it can
        return False
    return True


def _refusal(
    registration: Registration,
    hospitals: tuple[Hospital, ...],
    nonces: frozenset[str],
    expected_fingerprint: str | None,
) -> str | None:
    mark = fingerprint(registration.public_key)
    if expected_fingerprint is not None and expected_fingerprint.strip() != mark:
        return f"the key's fingerprint is {mark}, not {expected_fingerprint.strip()}: this is not the hospital's file"
    if registration.nonce in nonces:
        return "this file was admitted before; a hospital that registers again sends a new one"
    for hospital in hospitals:
        if registration.public_key in hospital.former_keys or (
            hospital.revoked and registration.public_key == hospital.public_key
        ):
            return f"its key was given up or revoked (it was {hospital.name}'s); the hospital has to make a new one"
        if registration.identity and registration.identity == hospital.identity and registration.name != hospital.name:
            return f"its identity for masking is {hospital.name}'s; the hospital has to make one of its own"
        if registration.public_key == hospital.public_key:
            return f"its key is admitted already, as {hospital.name}"
        if not same_look(registration.name, hospital.name):
            continue
        if registration.name != hospital.name:
            return f"its name {registration.name!r} can be mistaken for {hospital.name!r}, which is on the list"
        if not hospital.revoked and not registration.signed_by_previous(hospital.public_key):
            return (
                f"{hospital.name} is admitted already, with another key, and that key has not signed this file; if the "
                "hospital lost its key, revoke it first"
            )
    return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
