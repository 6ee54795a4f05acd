"""The shares of a hospital's keys: dealt to every hospital, sealed, so that the server passes on what it cannot read.

For each domain of a round a hospital deals its own mask's key, and the keys of the masks that it has in common with
each other member. From the first a sum is unmasked in which it is; from the second one that it dropped out of.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedthorax.common.masking.sharing import SHARE_BYTES, split
from fedthorax.common.masking.words import Group

Kept = tuple[int, str, str]  # domain, the hospital that dealt it, and the other of a pair or "" for its own mask
_NONCE_BYTES = 12


@dataclass(frozen=True)
class Keys:
    """A hospital's keys in one domain: its own mask's, and those that it has in common with others."""

    own: bytes
    pairs: Mapping[str, bytes]


def slots(groups: Sequence[Group], dealer: str) -> Iterator[Kept]:
    """What ``dealer`` deals to each hospital, in this order."""
    for number, group in enumerate(groups):
        if dealer in group.members:
            yield number, dealer, ""
            yield from ((number, dealer, other) for other in group.members if other != dealer)


def deal(
    groups: Sequence[Group], dealer: str, keys: Mapping[int, Keys], receivers: Sequence[str], threshold: int
) -> dict[str, bytes]:
    """By receiver its shares of all keys, joined; a share's point is the receiver's place in ``receivers`` from 1."""
    dealt = dict.fromkeys(receivers, b"")
    for number, _, other in slots(groups, dealer):
        secret = keys[number].pairs[other] if other else keys[number].own
        for receiver, share in zip(receivers, split(secret, len(receivers), threshold), strict=True):
            dealt[receiver] += share
    return dealt


def sealed(key: bytes, context: str, shares: bytes) -> str:
    """A hospital that does a round again deals other shares under the same key, so each dealing has its own nonce."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return (nonce + AESGCM(key).encrypt(nonce, shares, context.encode())).hex()


def opened(key: bytes, context: str, text: str, groups: Sequence[Group], dealer: str) -> dict[Kept, bytes]:
    """What ``dealer`` has dealt to this hospital. ValueError where it cannot be opened or is no such list."""
    try:
        came = bytes.fromhex(text)
        content = AESGCM(key).decrypt(came[:_NONCE_BYTES], came[_NONCE_BYTES:], context.encode())
    except (InvalidTag, ValueError):
        raise ValueError(f"the shares of {dealer} cannot be opened") from None
    expected = list(slots(groups, dealer))
    if len(content) != SHARE_BYTES * len(expected):
        raise ValueError(f"{dealer} has dealt {len(content)} bytes, expected {SHARE_BYTES * len(expected)}")
    return {
        slot: content[start : start + SHARE_BYTES]
        for slot, start in zip(expected, range(0, len(content), SHARE_BYTES), strict=True)
    }


def asked_for(groups: Sequence[Group], taken: Sequence[str], smallest: int) -> Iterator[Kept]:
    """The keys without which the sum of the hospitals that are ``taken`` stays masked, and no other: of each its own
    mask's, and of those that dropped out the ones that they have in common with each that is taken. Domains in which
    fewer than ``smallest`` stand behind a part stay masked."""
    for number, group in enumerate(groups):
        if group.may_be_summed(taken, smallest):
            inside = [site for site in group.members if site in taken]
            outside = [site for site in group.members if site not in taken]
            for site in inside:
                yield number, site, ""
                yield from ((number, site, other) for other in outside)
