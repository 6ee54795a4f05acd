"""The key pair by which a hospital is known: ECDSA on P-384, written as OpenSSH does, because Flower reads that."""

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes

KIND = "ecdsa-sha2-nistp384"


def new_private_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def public_key_text(private_key: ec.EllipticCurvePrivateKey) -> str:
    """One line, ``ecdsa-sha2-nistp384 BASE64``, without a comment and without a line end."""
    public = private_key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode("ascii")


def parse_public_key(text: str) -> ec.EllipticCurvePublicKey:
    """The key in a line of OpenSSH; ValueError unless it is one on P-384."""
    try:
        key = serialization.load_ssh_public_key(text.strip().encode("ascii"))
    except (ValueError, UnsupportedAlgorithm, UnicodeEncodeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError(f"expected a public key in OpenSSH's format, beginning with {KIND}")
    return key


def canonical_public_key(text: str) -> str:
    """The same key without comment or spare spaces: what is stored and compared."""
    public = parse_public_key(text)
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode("ascii")


def node_key(text: str) -> bytes:
    """The key as Flower stores and sends it: SubjectPublicKeyInfo in PEM."""
    return parse_public_key(text).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def fingerprint(text: str) -> str:
    """``SHA256:…`` as ``ssh-keygen -l`` prints it: short enough to compare on the telephone."""
    blob = base64.b64decode(canonical_public_key(text).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """The private key in a new file that only its owner can read; FileExistsError if there is one."""
    if path.exists():
        raise FileExistsError(f"{path}: there is a key already, which is not replaced")
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    write_bytes(path, (data,), PRIVATE)


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """ValueError, without a word of the content, if the file is not an OpenSSH key on P-384 without a password."""
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError(f"{path}: expected an OpenSSH private key of the kind {KIND}, without a password")
    return key
