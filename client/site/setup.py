"""Making a hospital's folder, and renewing what was made: its key, the consortium's certificate; certificates for a
worker on another host, such as one with a GPU."""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedthorax import __version__
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.settings import SiteSettings, load_settings, settings_text
from fedthorax.common.consortium.invitation import Invitation, read_invitation
from fedthorax.common.consortium.issuing import AUTHORITY, SIDE, certificate_of, in_days, key_pem
from fedthorax.common.consortium.keys import (
    fingerprint,
    new_private_key,
    public_key_text,
    read_private_key,
    write_private_key,
)
from fedthorax.common.consortium.names import checked_hospital_name
from fedthorax.common.consortium.registration import new_registration
from fedthorax.common.consortium.roster import new_identity, public_identity, read_identity
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes, write_json, write_text
from fedthorax.common.ground.owner_only import hand_to_owner

VALID_DAYS = 825  # longest life of a server certificate that all TLS libraries accept


@dataclass(frozen=True)
class Registered:
    """What was made: the file for the lead, and the fingerprint to read to the lead on the telephone."""

    folder: SiteFolder
    registration: Path
    fingerprint: str


def init_site(name: str, xray: Path | None, ct: Path | None, invitation_file: Path, folder: Path) -> Registered:
    """A new hospital's folder with a key pair of its own; nothing is sent anywhere.

    FileExistsError where a hospital was set up before: its key is its identity and is not replaced by this.
    """
    checked_hospital_name(name)
    invitation = read_invitation(invitation_file)
    if xray is None and ct is None:
        raise ValueError("expected --xray, --ct, or both; a hospital without images has nothing to train on")
    for option, images in (("--xray", xray), ("--ct", ct)):
        if images is not None and not images.is_dir():
            raise NotADirectoryError(f"{option} {images}: no such folder; expected the folder that holds the images")
        if images is not None and os.fsencode(images.absolute()) != str(images.absolute()).encode(errors="replace"):
            raise ValueError(f"{option} {images}: its name is not in UTF-8; give a link of another name to the folder")
    site = SiteFolder(folder.absolute())
    if site.settings.exists():
        raise FileExistsError(f"{site.path}: a hospital was set up here before; choose another --folder")
    site.make()
    _take_invitation(site, invitation)
    key = _key(site.private_key)
    write_text(site.public_key, public_key_text(key) + "\n")
    registration = site.registration(name)
    write_json(registration, new_registration(name, key, __version__, identity=_identity(site)))
    text = settings_text(
        name, invitation.consortium, invitation.address, xray and xray.absolute(), ct and ct.absolute()
    )
    write_text(site.settings, text)  # last: with it the hospital is set up
    return Registered(site, registration, fingerprint(public_key_text(key)))


def new_key(site: SiteFolder, settings: SiteSettings) -> Registered:
    """A second key beside the present one, and a registration signed by both. The present one stays in use until
    ``switch_key``, which has its time once the lead has admitted the new one: which may be so already where this is
    called again, so the new one stays the same until then."""
    present, key = read_private_key(site.private_key), _key(site.next_private_key)
    registration = site.registration(settings.name)
    write_json(registration, new_registration(settings.name, key, __version__, present, _identity(site)))
    return Registered(site, registration, fingerprint(public_key_text(key)))


def switch_key(site: SiteFolder) -> str:
    """Use the key that ``new_key`` made from now on; returns its fingerprint."""
    if not site.next_private_key.is_file():
        raise FileNotFoundError(f"{site.next_private_key}: no new key; make one with `fedthorax site renew` first")
    text = public_key_text(read_private_key(site.next_private_key))
    hand_to_owner(site.next_private_key)
    write_text(site.public_key, text + "\n")
    site.next_private_key.replace(site.private_key)  # last: until then this can be called again
    return fingerprint(text)


def renew_invitation(site: SiteFolder, invitation_file: Path) -> Invitation:
    """Take over the certificate of a newer invitation. ValueError where it is another consortium's, or where the
    server's address has changed, which the hospital writes into site.yaml itself."""
    invitation, settings = read_invitation(invitation_file), load_settings(site.settings)
    if invitation.consortium != settings.consortium:
        raise ValueError(f"{invitation_file}: it invites to {invitation.consortium}, not to {settings.consortium}")
    if invitation.address != settings.server:
        raise ValueError(
            f"{invitation_file}: the server is at {invitation.address} now; write that as `server` into "
            f"{site.settings} if you know that it is right, then give the invitation again"
        )
    _take_invitation(site, invitation)
    return invitation


def require_private_key(site: SiteFolder) -> str:
    """The key's fingerprint; PermissionError where others can read the key, ValueError where it is none."""
    if not site.private_key.is_file():
        raise FileNotFoundError(f"{site.private_key}: the hospital's key is missing; it cannot be made again")
    mode = site.private_key.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(f"{site.private_key}: others may read it (mode {mode:03o}); run chmod 600 on it")
    return fingerprint(public_key_text(read_private_key(site.private_key)))


def _take_invitation(site: SiteFolder, invitation: Invitation) -> None:
    write_text(site.ca_certificate, invitation.ca_certificate)
    write_json(site.invitation, invitation)
    for path in (site.ca_certificate, site.invitation):
        path.chmod(0o644)  # the SuperNode's user reads them


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key there, a new one where there is none."""
    if not path.exists():
        write_private_key(path, new_private_key())
    return read_private_key(path)


def _identity(site: SiteFolder) -> str:
    return public_identity(read_identity(site.identity) if site.identity.is_file() else new_identity(site.identity))


def make_worker_certificates(folder: Path, host: str) -> tuple[Path, Path]:
    """Certificates for a worker on ``host``: a small authority of the hospital's own, one for each side.

    Returns the folder for the worker's host and the folder for this one; each holds ca.crt, tls.crt and tls.key. The
    authority's key is thrown away: nobody can add a third side later.
    """
    authority_key, ends = ec.generate_private_key(ec.SECP384R1()), in_days(VALID_DAYS)
    name = _named("FedThorax site worker")
    authority = certificate_of(name, authority_key.public_key(), authority_key, ends, AUTHORITY)
    made = []
    for side, purpose, hosts in (
        ("worker-host", ExtendedKeyUsageOID.SERVER_AUTH, (host,)),
        ("this-host", ExtendedKeyUsageOID.CLIENT_AUTH, ()),
    ):
        key = ec.generate_private_key(ec.SECP384R1())
        certificate = certificate_of(
            _named(f"site {side}"), key.public_key(), authority_key, ends, SIDE, name, hosts, purpose
        )
        target = folder / side
        target.mkdir(parents=True, exist_ok=True)
        write_bytes(target / "ca.crt", (authority.public_bytes(serialization.Encoding.PEM),))
        write_bytes(target / "tls.crt", (certificate.public_bytes(serialization.Encoding.PEM),))
        write_bytes(target / "tls.key", (key_pem(key),), mode=PRIVATE)
        made.append(target)
    return made[0], made[1]


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
