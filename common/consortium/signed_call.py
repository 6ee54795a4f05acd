"""A hospital's signature of one call: of the method, the path and the body, not of the time alone as Flower has it.

Without it whoever sees one call, on a proxy that opens TLS say, could send another one in the hospital's name for as
long as its time is good. Flower's own headers stand beside these two.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

BODY_HEADER = "fedthorax-body"  # SHA-256 of the body, 64 hexadecimal digits
CALL_HEADER = "fedthorax-call"  # the signature in base64
_PURPOSE = b"FedThorax call\n"  # the same key signs registrations and Flower's times; none may serve as another


def sign_call(key: ec.EllipticCurvePrivateKey, time: str, method: str, path: str, body_sha256: str) -> bytes:
    return key.sign(_text(time, method, path, body_sha256), ec.ECDSA(hashes.SHA256()))


def fits_call(
    key: ec.EllipticCurvePublicKey, signature: bytes, time: str, method: str, path: str, body_sha256: str
) -> bool:
    try:
        key.verify(signature, _text(time, method, path, body_sha256), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _text(*parts: str) -> bytes:
    return _PURPOSE + "\n".join(parts).encode()
