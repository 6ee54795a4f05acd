"""How every certificate of a consortium is made, at the lead and at a hospital."""

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_SKEW = datetime.timedelta(hours=1)  # others' clocks may be behind
_USES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
    "encipher_only decipher_only"
)
AUTHORITY, SIDE = ("key_cert_sign", "crl_sign"), ("digital_signature",)


def certificate_of(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    ends: datetime.datetime,
    uses: Sequence[str],
    issuer: x509.Name | None = None,
    hosts: Sequence[str] = (),
    purpose: x509.ObjectIdentifier | None = None,
    path_length: int | None = None,
    serial: int | None = None,
) -> x509.Certificate:
    """A certificate that holds from now on, signed with the digest that fits the signer's curve. Without an ``issuer``
    it vouches for itself. ``uses`` are names of x509.KeyUsage, ``hosts`` names and addresses."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer)
        .public_key(key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(datetime.datetime.now(datetime.UTC) - _SKEW)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints("key_cert_sign" in uses, path_length), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in uses for use in _USES.split()}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(name) for name in hosts]), critical=False)
    return builder.sign(signer, hashes.SHA384() if isinstance(signer.curve, ec.SECP384R1) else hashes.SHA256())


def in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS 8, as gRPC reads keys."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
