"""The consortium's own certificate authority and the server's certificate.

Hospitals trust this authority and no other for the consortium, so no public authority can let a stranger pose as the
server. When the authority itself is renewed, the server's certificate comes from the new one, and the file
``server.crt`` also carries the new authority's certificate as signed by the old one: hospitals that know only the old
one go on as before until it ends, those that know only the new one as well.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedthorax.common.consortium.issuing import AUTHORITY, SIDE, certificate_of, in_days, key_pem
from fedthorax.common.consortium.keys import write_secret
from fedthorax.common.ground.atomic_write import write_text

AUTHORITY_DAYS = 3650
_LOCAL = ("localhost", "127.0.0.1", "::1")


def create_authority(consortium: str, certificate: Path, key: Path) -> None:
    """A new authority in files that do not exist yet."""
    private = ec.generate_private_key(ec.SECP384R1())
    write_secret(key, key_pem(private))
    write_text(certificate, _pem(_authority(consortium, private)))


def renew_authority(consortium: str, certificate: Path, key: Path) -> x509.Certificate:
    """A new authority in place of the present one, and its certificate signed by the present one, which is returned."""
    old_certificate, old_key = read_certificate(certificate), _read_key(key)
    private = ec.generate_private_key(ec.SECP384R1())
    new = _authority(consortium, private)
    ends = old_certificate.not_valid_after_utc
    signed = certificate_of(new.subject, private.public_key(), old_key, ends, AUTHORITY, old_certificate.subject)
    write_secret(key, key_pem(private), replace=True)
    write_text(certificate, _pem(new))
    return signed


def issue_server_certificate(
    names: Sequence[str],
    days: int,
    authority: tuple[Path, Path],
    certificate: Path,
    key: Path,
    cross: x509.Certificate | None = None,
) -> None:
    """A new key and certificate for the server, good for ``names`` and this machine's loopback addresses.

    ``authority`` is its certificate and key. ``cross``, and what the present file carries behind the server's
    certificate already, goes into the new file behind it.
    """
    ca_certificate, ca_key = read_certificate(authority[0]), _read_key(authority[1])
    if ca_key.public_key() != ca_certificate.public_key():
        raise ValueError(f"{authority[0]} and {authority[1]} do not belong together; restore both from the backup")
    private = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate_of(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]),
        private.public_key(),
        ca_key,
        min(in_days(days), ca_certificate.not_valid_after_utc),
        SIDE,
        ca_certificate.subject,
        tuple(dict.fromkeys((*names, *_LOCAL))),
        ExtendedKeyUsageOID.SERVER_AUTH,
    )
    chain = [*([cross] if cross is not None else []), *_present_chain(certificate)]
    write_secret(key, key_pem(private), replace=True)
    write_text(certificate, _pem(leaf, *chain))


def issue_loopback_certificate(certificate: Path, key: Path) -> None:
    """A certificate that vouches for itself, for the way between the gateway and the SuperLink on this machine.

    Flower authenticates nodes over TLS only. Nothing else trusts it, so renewing the others does not touch it.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedThorax SuperLink on loopback")])
    uses = (*SIDE, "key_cert_sign")
    ends = in_days(AUTHORITY_DAYS)
    own = certificate_of(name, private.public_key(), private, ends, uses, hosts=_LOCAL, path_length=0)
    write_secret(key, key_pem(private), replace=True)
    write_text(certificate, _pem(own))


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; ValueError if there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path}: expected a certificate in PEM") from None


def days_left(certificate: Path) -> int:
    """Whole days until the certificate ends; negative once it has."""
    return (read_certificate(certificate).not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


def _authority(consortium: str, private: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # The number tells a renewed authority from the one before: OpenSSL looks issuers up by name.
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, consortium),
            x509.NameAttribute(NameOID.COMMON_NAME, f"FedThorax consortium authority {serial % 16**8:08x}"),
        ]
    )
    return certificate_of(name, private.public_key(), private, in_days(AUTHORITY_DAYS), AUTHORITY, serial=serial)


def _present_chain(path: Path) -> list[x509.Certificate]:
    if not path.is_file():
        return []
    now, behind = datetime.datetime.now(datetime.UTC), x509.load_pem_x509_certificates(path.read_bytes())[1:]
    return [certificate for certificate in behind if certificate.not_valid_after_utc > now]


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: expected a private key in PEM, without a password")
    return key


def _pem(*certificates: x509.Certificate) -> str:
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode("ascii") for c in certificates)
