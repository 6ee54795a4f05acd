"""Certificates for a worker on another host, such as one with a GPU: both sides show one, of the hospital's own."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedthorax.common.consortium.issuing import AUTHORITY, SIDE, certificate_of, in_days, key_pem
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes

VALID_DAYS = 825  # longest life of a server certificate that all TLS libraries accept


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
