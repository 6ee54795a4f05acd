"""Who masks: each hospital's identity (Ed25519), the list of all that hospitals pin, and a key for each run (X25519).

The identity signs the run's key together with the run, the experiment, the hospital's list and the parts of the model
that it will contribute to. Hospitals check each other's signatures; the server passes them on and attests nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field

from fedthorax.common.ground import leaving
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.strict_json import canonical_json

_PURPOSE = b"FedThorax run key\n"
Hex32 = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,32}$"), leaving.Identifier()]
Signature = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,64}$"), leaving.Identifier()]
Roster = Mapping[str, str]  # hospital → public identity, hexadecimal


@dataclass(frozen=True)
class Trust:
    """A hospital's identity, and the roster that a person there has pinned."""

    identity: Ed25519PrivateKey
    roster: Roster


class RunKey(Frozen):
    """A hospital's key for one run. ``roster`` is the digest of the list that it trusts, empty where it has none (a
    simulation); ``contributes`` are the counts of parts of the model (branch_counts) that are not 0 there."""

    identity: Hex32
    roster: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){0,32}$"), leaving.Identifier()]
    key: Hex32
    contributes: Annotated[tuple[Annotated[str, Field(max_length=200), leaving.Name()], ...], Field(max_length=1000)]
    signature: Signature


def signed_run_key(
    identity: Ed25519PrivateKey,
    key: X25519PrivateKey,
    roster: str,
    contributes: tuple[str, ...],
    run: str,
    site: str,
    experiment: str,
) -> RunKey:
    """``experiment`` is the digest of the experiment, the same at every hospital."""
    own, public = raw(identity.public_key()).hex(), raw(key.public_key()).hex()
    text = _statement(own, roster, public, contributes, run, site, experiment)
    return RunKey(identity=own, roster=roster, key=public, contributes=contributes, signature=identity.sign(text).hex())


def check_run_key(told: RunKey, run: str, site: str, experiment: str, trusted: Roster | None) -> None:
    """ValueError, the hospital's name before the reason, unless ``told`` is its key for this run of this experiment
    and, where there is a list that is ``trusted``, its identity stands there and it trusts the same list."""
    if trusted is not None:
        if site not in trusted:
            raise ValueError(
                f"{site}: a hospital of the round does not stand in the roster that this one trusts (`fedthorax site "
                "trust`)"
            )
        if trusted[site] != told.identity:
            raise ValueError(f"{site}: a hospital of the round has another identity than the roster that is trusted")
        if told.roster != roster_digest(trusted):
            raise ValueError(f"{site}: a hospital of the round trusts another roster; compare their fingerprints")
    text = _statement(told.identity, told.roster, told.key, told.contributes, run, site, experiment)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(told.identity)).verify(bytes.fromhex(told.signature), text)
    except (InvalidSignature, ValueError):
        raise ValueError(f"{site}: the key of a hospital for this run is not signed by its identity") from None
    try:  # one of the few points that give everybody the same secret would stop all who meet it
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(told.key)))
    except ValueError:
        raise ValueError(f"{site}: the key of a hospital for this run gives no secret") from None


def roster_digest(roster: Roster) -> str:
    """SHA-256 of the hospitals' names and identities, in hexadecimal."""
    return hashlib.sha256(b"FedThorax roster\n" + canonical_json(dict(sorted(roster.items()))).encode()).hexdigest()


def spoken(digest: str) -> str:
    """A digest as twelve groups of five decimal digits, to be read aloud: 199 of its 256 bits."""
    number = int(digest, 16) % 10**60
    text = f"{number:060d}"
    return " ".join(text[start : start + 5] for start in range(0, 60, 5))


def raw(key: Ed25519PublicKey | X25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _statement(
    identity: str, roster: str, key: str, contributes: tuple[str, ...], run: str, site: str, experiment: str
) -> bytes:
    return _PURPOSE + canonical_json([identity, roster, key, list(contributes), run, site, experiment]).encode()
