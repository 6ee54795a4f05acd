"""``NAME.site.json``: what a hospital gives to the lead, so that its public key is admitted under its name.

The file is signed with the private key that stays at the hospital: whoever changes a character of it is found out. It
cannot show that the sender is the hospital it names, since anybody can make a key. For that the lead compares the key's
fingerprint with the hospital on another way, such as the telephone.

A hospital that changes its key signs the file with the key that is admitted so far as well.
"""

import base64
import binascii
import datetime
import secrets
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, field_validator

from fedthorax.common.consortium.invitation import VERSION, read_sent
from fedthorax.common.consortium.keys import canonical_public_key, parse_public_key, public_key_text
from fedthorax.common.consortium.names import checked_hospital_name
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.strict_json import canonical_json

_SIGNATURES = ("signature", "previous_signature")
_HASH = ec.ECDSA(hashes.SHA384())
_PURPOSE = b"FedThorax registration\n"  # the same key signs Flower's requests; neither signature may serve as the other


class Registration(Frozen):
    """One hospital's name and public key, with the proof that the file is as its maker wrote it."""

    format: Literal[1] = Field(default=1, description="Version of this file's format.")
    name: str = Field(description="The hospital's name.")
    public_key: str = Field(description="The hospital's public key in OpenSSH's format.")
    software_version: str = Field(pattern=VERSION, description="Version of FedThorax at the hospital.")
    identity: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="The hospital's public identity for masking, hexadecimal; null from versions before it.",
    )
    created: str = Field(description="When the file was made, ISO 8601 with a time zone.")
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$", description="Random; a file is admitted once.")
    signature: str = Field(description="ECDSA-SHA384 of all but the signatures, in base64.")
    previous_signature: str | None = Field(
        default=None, description="The same by the key that the hospital gives up; null for a new hospital."
    )

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return checked_hospital_name(name)

    @field_validator("public_key")
    @classmethod
    def _key(cls, text: str) -> str:
        if canonical_public_key(text) != text:
            raise ValueError("expected the key without a comment and without spare spaces")
        return text

    @field_validator("created")
    @classmethod
    def _time(cls, text: str) -> str:
        try:
            zone = datetime.datetime.fromisoformat(text).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise ValueError(f"expected a time such as 2026-01-31T12:00:00+00:00, got {text!r}")
        return text

    def signed_by_previous(self, previous_public_key: str) -> bool:
        """Whether the holder of the key that was admitted before asks for this one."""
        return self.previous_signature is not None and _fits(
            previous_public_key, self.previous_signature, _signed_text(self.model_dump(mode="json"))
        )


def new_registration(
    name: str,
    private_key: ec.EllipticCurvePrivateKey,
    software_version: str,
    previous_key: ec.EllipticCurvePrivateKey | None = None,
    identity: str | None = None,
) -> Registration:
    """A registration made now. ``previous_key`` is the admitted key that ``private_key`` replaces."""
    content: dict[str, Any] = {
        "format": 1,
        "name": checked_hospital_name(name),
        "public_key": public_key_text(private_key),
        "software_version": software_version,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "nonce": secrets.token_hex(16),
        "identity": identity,
    }
    text = _signed_text(content)
    return Registration(
        **content,
        signature=_signature(private_key, text),
        previous_signature=None if previous_key is None else _signature(previous_key, text),
    )


def read_registration(path: Path) -> Registration:
    """The file's content, its signature verified; FileNotFoundError, or ValueError with one line a problem."""
    registration = read_sent(path, Registration, "a hospital's NAME.site.json")
    content = registration.model_dump(mode="json")
    if not _fits(registration.public_key, registration.signature, _signed_text(content)):
        raise ValueError(
            f"{path}: the signature does not fit: the file was changed after {registration.name} made it; ask the "
            "hospital to send it again"
        )
    return registration


def _signed_text(content: dict[str, Any]) -> bytes:
    signed = {key: value for key, value in content.items() if key not in _SIGNATURES}
    if signed.get("identity") is None:
        signed.pop("identity", None)  # files of versions before it are signed without
    return _PURPOSE + canonical_json(signed).encode()


def _signature(key: ec.EllipticCurvePrivateKey, text: bytes) -> str:
    return base64.b64encode(key.sign(text, _HASH)).decode("ascii")


def _fits(public_key: str, signature: str, text: bytes) -> bool:
    try:
        parse_public_key(public_key).verify(base64.b64decode(signature, validate=True), text, _HASH)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
