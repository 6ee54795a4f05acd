"""Several hospitals' images as if they were one's: for the centralised yardstick."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.records.records import SPLITS, Attributes, Split


def pool_sites(name: str, sites: Sequence[SiteImages]) -> SiteImages:
    """All images of ``sites``, split by split; the same patient id at two hospitals stays two patients."""
    splits: dict[Split, SplitImages] = {
        split: SplitImages(_pool(sites, split, "xray"), _pool(sites, split, "ct")) for split in SPLITS
    }
    return SiteImages(
        name,
        splits,
        tuple(bad for site in sites for bad in site.skipped),
        tuple(f"{site.name}: {note}" for site in sites for note in site.notes),
        tuple(folder for site in sites for folder in site.folders),
        tuple(issue for site in sites for issue in site.issues),
    )


def _pool(sites: Sequence[SiteImages], split: Split, modality: Literal["xray", "ct"]) -> ImageSet:
    sets = [getattr(site.splits[split], modality) for site in sites]
    return ImageSet(
        np.concatenate([images.images for images in sets]),
        np.concatenate([images.targets for images in sets]),
        tuple(path for images in sets for path in images.paths),
        tuple(
            f"{site.name}/{patient}" for site, images in zip(sites, sets, strict=True) for patient in images.patients
        ),
        tuple(digest for images in sets for digest in images.digests),
        tuple(attributes for images in sets for attributes in (images.attributes or (Attributes(),) * len(images))),
        tuple(images.ref(row).frame for images in sets for row in range(len(images))),
        tuple(named for images in sets for named in (images.named or (True,) * len(images))),
    )
