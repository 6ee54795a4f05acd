"""The masks themselves: keys of pairs of hospitals for one round, and streams of words out of keys.

Every round has a context, the digest of all that its sum depends on. A server that gives one hospital another model,
another phase or other keys gives it another context, hence other masks, which do not cancel: it learns noise (Pasquini
et al., "Eluding Secure Aggregation in Federated Learning via Model Inconsistency", CCS 2022).
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedthorax.common.masking.words import Words

_AT_ONCE = 1 << 17  # words of a stream: what is added stays in the processor's cache


def pair_secret(own: X25519PrivateKey, other: str, run: str) -> bytes:
    """What two hospitals share in a run; ``other`` is the public key in hexadecimal. ValueError for a key that gives no
    secret."""
    shared = own.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(other)))
    return derived(shared, run.encode(), b"FedThorax pair")


def pair_key(secret: bytes, context: str, domain: int, one: str, other: str) -> bytes:
    """The key of the mask that two hospitals have in common in a domain of a round."""
    first, second = sorted((one, other))
    return derived(secret, b"", _info("mask", context, str(domain), first, second))


def own_key(secret: bytes, context: str, domain: int, words: Words) -> bytes:
    """The key of a hospital's own mask: ``secret`` is its own for the run. Other words have another mask."""
    digest = hashlib.sha256(words.data).hexdigest() if words.size else ""
    return hmac.digest(secret, _info("own", context, str(domain), digest), "sha256")


def add_mask(words: Words, key: bytes, sign: int) -> None:
    """Add the stream of ``key`` to the words in place, or take it off where ``sign`` is -1."""
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    nothing = bytes(8 * min(_AT_ONCE, words.size))
    for start in range(0, words.size, _AT_ONCE):
        part = words[start : start + _AT_ONCE]
        mask = np.frombuffer(stream.update(nothing[: 8 * part.size]), "<u8")
        if sign > 0:
            part += mask
        else:
            part -= mask


def sign_of(site: str, other: str) -> int:
    """With which sign ``site`` adds the mask that it has in common with ``other``: the two cancel."""
    return 1 if site < other else -1


def mask(words: Words, site: str, own: bytes, pairs: Mapping[str, bytes]) -> Words:
    """The words under the hospital's own mask and those of its ``pairs``, keys by the other hospital."""
    masked = words.copy()
    add_mask(masked, own, 1)
    for other, key in pairs.items():
        add_mask(masked, key, sign_of(site, other))
    return masked


def derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def _info(*parts: str) -> bytes:
    return "\n".join(["FedThorax", *(f"{len(part)}:{part}" for part in parts)]).encode()


def commitment(key: bytes) -> str:
    """By which the server knows a key again that was put together from shares; the key cannot be found from it."""
    return hashlib.sha256(b"FedThorax commitment\n" + key).hexdigest()


def sealing_key(secret: bytes, context: str, sender: str, receiver: str) -> bytes:
    """The key under which ``sender`` sends its shares to ``receiver`` in a round."""
    return derived(secret, b"", _info("shares", context, sender, receiver))


def context_of(facts: Sequence[object]) -> str:
    """The digest of all that a round's sum depends on; ``facts`` become JSON."""
    from fedthorax.common.ground.strict_json import canonical_json

    return hashlib.sha256(b"FedThorax round\n" + canonical_json(list(facts)).encode()).hexdigest()
