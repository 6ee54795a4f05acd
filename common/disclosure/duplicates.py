"""Images that two hospitals both hold, found without showing them: keyed hashes of pixels and of what they show.

The hospitals share a key that the server does not have. A hash is HMAC-SHA-256 (RFC 2104) of an image's digest under a
key derived from the shared one and from a number that the server draws for the query, so hashes of two queries cannot
be joined. What the server learns nevertheless is said in docs/statistics.md.

The coarse hash is equal for most copies of a picture in another size, format or brightness: the signs of the 8 x 8
lowest frequencies against their median (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions,
2010). Keyed hashes can be compared for equality only, so it is coarser than what ``fedthorax check`` looks for; how
often it finds a copy is measured in docs/statistics.md.
"""

import hmac
import os
import re
import secrets
import stat
from collections.abc import Collection, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.messages.statistics import Tokens
from fedthorax.common.pixels.perceptual_hash import SIDE, signature

_FREQUENCIES = 8
_COSINES = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), 2 * np.arange(SIDE) + 1) / (2 * SIDE))


def coarse_hashes(images: NDArray[np.uint8]) -> list[str]:
    """64 bits in hexadecimal for each of ``images`` (N, S, S, 3); those of one colour, alike in nothing, have none."""
    hashes = []
    for image in images:
        grey = Image.fromarray(image).convert("L")
        small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0), np.float32)
        shown = signature(small)
        if shown.any():
            frequencies = (_COSINES @ shown @ _COSINES.T).ravel()
            hashes.append(np.packbits(frequencies > np.median(frequencies[1:])).tobytes().hex())
    return hashes


Kind = Literal["xray", "ct", "xray_alike", "ct_alike"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_FILL_TO = 100
_TOKEN_BYTES = 16


def new_key(path: Path) -> Path:
    """Write a new key, readable by its owner only; FileExistsError if there is a file."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(secrets.token_hex(32) + "\n")
    return path


def read_key(path: Path) -> bytes:
    """The key in ``path``: 64 hexadecimal digits. ValueError or OSError with what is wrong and what to do."""
    try:
        text, mode = path.read_text(encoding="ascii").strip(), path.stat().st_mode
    except UnicodeDecodeError:
        text, mode = "", path.stat().st_mode
    except OSError as error:
        raise OSError(f"duplicate key {path}: {error.strerror}; ask the consortium's hospitals for it") from error
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError(
            f"duplicate key {path}: expected 64 hexadecimal digits, as `openssl rand -hex 32` writes them, "
            f"found something else ({len(text)} characters)"
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise ValueError(f"duplicate key {path}: other users may read or change it; run chmod 600 {path}")
    return bytes.fromhex(text)


def tokens(key: bytes, nonce: bytes, digests: Mapping[Kind, Collection[str]]) -> Tokens:
    """The hashes of the digests of each kind, each digest once.

    They are sorted, so that their order tells nothing, and filled up with random ones to a multiple of 100, so that
    their number does not tell how many different images there are.
    """
    query_key = hmac.digest(key, b"fedthorax duplicates\0" + nonce, "sha256")

    def token(text: str) -> str:
        return hmac.digest(query_key, text.encode(), "sha256")[:_TOKEN_BYTES].hex()

    def filled(kind: Kind) -> tuple[str, ...]:
        hashed = {token(f"{kind} {digest}") for digest in digests[kind]}
        while len(hashed) % _FILL_TO:
            hashed.add(secrets.token_hex(_TOKEN_BYTES))
        return tuple(sorted(hashed))

    return Tokens(key_check=token("key check"), **{kind: filled(kind) for kind in KINDS})


def shared_images(sites: dict[str, Tokens | None]) -> list[dict[str, Any]]:
    """Different images that each pair of sites has in common; None with its ``reason`` where it cannot be told.

    Images that are alike among themselves, such as neighbouring slices of a scan, count once.
    """
    found = []
    for one, other in combinations(sites, 2):
        mine, theirs = sites[one], sites[other]
        entry: dict[str, Any] = {"sites": [one, other], **dict.fromkeys(KINDS), "reason": None}
        if mine is None or theirs is None:
            without = [name for name in (one, other) if sites[name] is None]
            entry["reason"] = f"no hashes from {' and '.join(without)}"
        elif mine.key_check != theirs.key_check:
            entry["reason"] = "the two hospitals have different duplicate keys"
        else:
            entry |= {kind: len(set(getattr(mine, kind)) & set(getattr(theirs, kind))) for kind in KINDS}
        found.append(entry)
    return found
