"""Certificates for a worker on another host, such as one with a GPU: both sides show one, of the hospital's own."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes

_PEM = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)  # gRPC reads keys in no other format
VALID_DAYS = 825  # longest life of a server certificate that all TLS libraries accept


def make_worker_certificates(folder: Path, host: str) -> tuple[Path, Path]:
    """Certificates for a worker on ``host``: a small authority of the hospital's own, one for each side.

    Returns the folder for the worker's host and the folder for this one; each holds ca.crt, tls.crt and tls.key. The
    authority's key is thrown away: nobody can add a third side later.
    """
    authority_key = ec.generate_private_key(ec.SECP384R1())
    authority = _certificate("FedThorax site worker", authority_key.public_key(), None, authority_key, None, None)
    made = []
    for side, usage, name in (
        ("worker-host", ExtendedKeyUsageOID.SERVER_AUTH, host),
        ("this-host", ExtendedKeyUsageOID.CLIENT_AUTH, None),
    ):
        key = ec.generate_private_key(ec.SECP384R1())
        certificate = _certificate(f"site {side}", key.public_key(), authority, authority_key, usage, name)
        target = folder / side
        target.mkdir(parents=True, exist_ok=True)
        write_bytes(target / "ca.crt", (authority.public_bytes(serialization.Encoding.PEM),))
        write_bytes(target / "tls.crt", (certificate.public_bytes(serialization.Encoding.PEM),))
        private = key.private_bytes(*_PEM, serialization.NoEncryption())
        write_bytes(target / "tls.key", (private,), mode=PRIVATE)
        made.append(target)
    return made[0], made[1]


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    usage: x509.ObjectIdentifier | None,
    host: str | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=issuer is not None,
                key_cert_sign=issuer is None,
                crl_sign=issuer is None,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host_name(host)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA384())


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
