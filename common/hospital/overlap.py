"""Test images that somebody trains on, found by their pixels."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace

from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.records.records import Split


def shared_images(images: ImageSet, digests: Collection[str]) -> tuple[int, ...]:
    """Rows of ``images`` whose decoded pixels, before resizing, equal one of ``digests``."""
    known = frozenset(digests)
    return tuple(row for row, digest in enumerate(images.digests) if digest in known)


def without(images: ImageSet, indices: Collection[int]) -> ImageSet:
    """``images`` less the rows ``indices``; the rest is copied into memory if anything is left out."""
    if not indices:
        return images
    unknown = sorted(set(indices) - set(range(len(images))))
    if unknown:
        raise ValueError(f"indices must be rows 0 to {len(images) - 1} of the images, found {unknown[0]}")
    left_out = frozenset(indices)
    kept = [row for row in range(len(images)) if row not in left_out]
    parts = {name: getattr(images, name) for name in ("paths", "patients", "digests", "attributes", "frames", "named")}
    rows = {name: tuple(part[row] for row in kept) for name, part in parts.items() if part}
    return replace(images, images=images.images[kept], targets=images.targets[kept], **rows)


def unseen(splits: Mapping[Split, SplitImages]) -> SplitImages:
    """The test images of ``splits`` whose pixels stand neither in train nor in valid; all of them if none does."""
    test, others = splits["test"], [splits["train"], splits["valid"]]
    return SplitImages(
        xray=without(test.xray, shared_images(test.xray, [d for part in others for d in part.xray.digests])),
        ct=without(test.ct, shared_images(test.ct, [d for part in others for d in part.ct.digests])),
    )


def keyed_digests(digests: Collection[str], key: bytes) -> tuple[str, ...]:
    """``digests`` under a key of 16 to 64 bytes, in the same order.

    Who does not have the key cannot test whether a picture at hand is among them. With a key per comparison, two
    comparisons cannot be joined either.
    """
    if not 16 <= len(key) <= 64:
        raise ValueError(f"key must have 16 to 64 bytes, found {len(key)}")
    return tuple(hashlib.blake2b(digest.encode(), digest_size=16, key=key).hexdigest() for digest in digests)
