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
from fedthorax.common.ground.atomic_write import PRIVATE, replacing, write_bytes

AUTHORITY_DAYS = 3650
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
_LOCAL = ("localhost", "127.0.0.1", "::1")


def create_authority(consortium: str, certificate: Path, key: Path) -> None:
    """A new authority in files that do not exist yet."""
    _write(certificate, key, _new_authority(consortium))


def issue_server_certificate(
    names: Sequence[str], days: int, authority: tuple[Path, Path], certificate: Path, key: Path, renewed: str = ""
) -> None:
    """A new key and certificate for the server, good for ``names`` and this machine's loopback addresses.

    ``authority`` is its certificate and key. With ``renewed``, the consortium's name, a new one takes its place, last:
    until then the present one vouches for all. The new one as signed by the present one, and what the server's file
    carries behind its certificate already, goes into the new file behind it.
    """
    ca_certificate, ca_key = read_pair(*authority)
    chain = _present_chain(certificate)
    if renewed:
        old, old_key = ca_certificate, ca_key
        ca_certificate, ca_key = _new_authority(renewed)
        facts = (ca_certificate.subject, ca_key.public_key(), old_key, old.not_valid_after_utc, AUTHORITY, old.subject)
        chain.insert(0, certificate_of(*facts))
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
    _write(certificate, key, (leaf, private), chain)
    if renewed:
        _write(*authority, (ca_certificate, ca_key))


def issue_loopback_certificate(certificate: Path, key: Path) -> None:
    """A certificate that vouches for itself, for the way between the gateway and the SuperLink on this machine.

    Flower authenticates nodes over TLS only. Nothing else trusts it, so renewing the others does not touch it.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedThorax SuperLink on loopback")])
    uses = (*SIDE, "key_cert_sign")
    ends = in_days(AUTHORITY_DAYS)
    own = certificate_of(name, private.public_key(), private, ends, uses, hosts=_LOCAL, path_length=0)
    _write(certificate, key, (own, private))


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; ValueError if there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path}: expected a certificate in PEM") from None


def read_pair(certificate: Path, key: Path) -> Pair:
    """A certificate and its key. Where a renewal was killed between the two files, the certificate is the one that lies
    in the key's file: a newer one of the same consortium. ValueError where the two do not belong together."""
    private, present = _read_key(key), read_certificate(certificate)
    if present.public_key() == private.public_key():
        return present, private
    _, begin, text = key.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
    newer = x509.load_pem_x509_certificate(begin + text) if begin else present
    consortia = [one.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) for one in (present, newer)]
    from_backup = newer.not_valid_before_utc < present.not_valid_before_utc
    if newer.public_key() != private.public_key() or from_backup or consortia[0] != consortia[1]:
        raise ValueError(f"{certificate} and {key} do not belong together; restore both from the backup")
    write_bytes(certificate, (begin, text))
    return newer, private


def days_left(certificate: Path) -> int:
    """Whole days until the certificate ends; negative once it has."""
    return (read_certificate(certificate).not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


def _new_authority(consortium: str) -> Pair:
    private = ec.generate_private_key(ec.SECP384R1())
    # The number tells a renewed authority from the one before: OpenSSL looks issuers up by name.
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, consortium),
            x509.NameAttribute(NameOID.COMMON_NAME, f"FedThorax consortium authority {serial % 16**8:08x}"),
        ]
    )
    ends = in_days(AUTHORITY_DAYS)
    return certificate_of(name, private.public_key(), private, ends, AUTHORITY, serial=serial), private


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


def _write(path: Path, key: Path, pair: Pair, chain: Sequence[x509.Certificate] = ()) -> None:
    """Both files, the key first, with the certificate behind it (``read_pair``); on a full disk neither."""
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (pair[0], *chain))
    with replacing(path) as public, replacing(key, PRIVATE) as secret:
        for file, content in ((public, pem), (secret, key_pem(pair[1]) + pem)):
            file.write(content)
            file.flush()
