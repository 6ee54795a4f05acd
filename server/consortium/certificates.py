"""The consortium's own certificate authority and the server's certificate.

Hospitals trust this authority and no other for the consortium, so no public authority can let a stranger pose as the
server. When the authority itself is renewed, the server's certificate comes from the new one, and the file
``server.crt`` also carries the new authority's certificate as signed by the old one: hospitals that know only the old
one go on as before until it ends, those that know only the new one as well.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedthorax.common.consortium.keys import write_secret
from fedthorax.common.ground.atomic_write import write_text

AUTHORITY_DAYS = 3650
_SKEW = datetime.timedelta(hours=1)  # hospitals' clocks may be behind
_LOCAL = ("localhost", "127.0.0.1", "::1")


def create_authority(consortium: str, certificate: Path, key: Path) -> None:
    """A new authority in files that do not exist yet."""
    private = ec.generate_private_key(ec.SECP384R1())
    write_secret(key, _key_pem(private))
    write_text(certificate, _pem(_authority(consortium, private)))


def renew_authority(consortium: str, certificate: Path, key: Path) -> x509.Certificate:
    """A new authority in place of the present one, and its certificate signed by the present one, which is returned."""
    old_certificate, old_key = read_certificate(certificate), _read_key(key)
    private = ec.generate_private_key(ec.SECP384R1())
    new = _authority(consortium, private)
    cross = (
        x509.CertificateBuilder()
        .subject_name(new.subject)
        .issuer_name(old_certificate.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(new.not_valid_before_utc)
        .not_valid_after(old_certificate.not_valid_after_utc)
    )
    for extension in new.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            cross = cross.add_extension(extension.value, extension.critical)
    cross = cross.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(old_key.public_key()), critical=False
    )
    signed = cross.sign(old_key, hashes.SHA384())
    write_secret(key, _key_pem(private), replace=True)
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
    now = datetime.datetime.now(datetime.UTC)
    entries = [_general_name(name) for name in dict.fromkeys((*names, *_LOCAL))]
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(ca_certificate.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(now + datetime.timedelta(days=days), ca_certificate.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(entries), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA384())
    )
    chain = [*([cross] if cross is not None else []), *_present_chain(certificate, now)]
    write_secret(key, _key_pem(private), replace=True)
    write_text(certificate, _pem(leaf, *chain))


def issue_loopback_certificate(certificate: Path, key: Path) -> None:
    """A certificate that vouches for itself, for the way between the gateway and the SuperLink on this machine.

    Flower authenticates nodes over TLS only. Nothing else trusts it, so renewing the others does not touch it.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FedThorax SuperLink on loopback")])
    now = datetime.datetime.now(datetime.UTC)
    own = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in _LOCAL]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(digital_signature=True, key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    write_secret(key, _key_pem(private), replace=True)
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
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(serial)
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA384())
    )


def _present_chain(path: Path, now: datetime.datetime) -> list[x509.Certificate]:
    if not path.is_file():
        return []
    behind = x509.load_pem_x509_certificates(path.read_bytes())[1:]
    return [certificate for certificate in behind if certificate.not_valid_after_utc > now]


def _usage(**uses: bool) -> x509.KeyUsage:
    known = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
        "encipher_only decipher_only"
    )
    return x509.KeyUsage(**(dict.fromkeys(known.split(), False) | uses))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


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
