"""``roster.json``: the hospitals' identities for masking, as the lead wrote them down and each hospital pins them.

An identity is an Ed25519 key that the site worker holds, apart from the key by which the server knows the hospital. The
list's fingerprint is compared in the consortium's call: the lead cannot put a hospital of its own in unheard.
"""

from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from pydantic import Field

from fedthorax.common.consortium.invitation import read_sent
from fedthorax.common.consortium.names import checked_hospital_name
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.owner_only import hand_to_owner
from fedthorax.common.masking.keys import raw, roster_digest, spoken

Identity = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Public identity, hexadecimal.")]


class RosterFile(Frozen):
    """The whole file."""

    format: Literal[1] = Field(default=1, description="Version of this file's format.")
    consortium: str = Field(min_length=1, max_length=64, description="Name of the consortium.")
    hospitals: dict[str, Identity] = Field(description="Public identity of each hospital by its name.")

    @property
    def fingerprint(self) -> str:
        """In groups of digits, to be read aloud."""
        return spoken(roster_digest(self.hospitals))


def read_roster(path: Path) -> RosterFile:
    """The file's content; FileNotFoundError, or ValueError with one line a problem."""
    roster = read_sent(path, RosterFile, "the lead's roster.json")
    for name in roster.hospitals:
        checked_hospital_name(name)
    return roster


def new_identity(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_bytes(path, (text,), PRIVATE)
    hand_to_owner(path)
    return key


def read_identity(path: Path) -> Ed25519PrivateKey:
    """FileNotFoundError, or ValueError where the file holds no such key."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the hospital's identity is missing; make one with `fedthorax site renew`")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: expected an Ed25519 key in PEM; make one with `fedthorax site renew`")
    return key


def public_identity(key: Ed25519PrivateKey) -> str:
    return raw(key.public_key()).hex()
