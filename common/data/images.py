"""Decoded images of one modality and one split, with what belongs to each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.data.records import Attributes, BadFile, Split


@dataclass(frozen=True)
class ImageSet:
    """N images, row by row.

    ``images`` is uint8 of shape (N, S, S, 3), in memory or memory-mapped. ``targets`` is float32 (N, findings) with
    1 present, 0 absent, NaN unknown for X-rays, and int32 (N,) with -1 unknown for CT slices. ``digests`` are hashes of
    the decoded pixels before resizing: equal digests mean the same picture, whatever the file format. ``attributes``
    is empty where nothing else is known of any image.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    paths: tuple[Path, ...]
    patients: tuple[str, ...]
    digests: tuple[str, ...]
    attributes: tuple[Attributes, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class SplitImages:
    """The two modalities of one split. Rows of the two do not correspond: pairing joins them."""

    xray: ImageSet
    ct: ImageSet


@dataclass(frozen=True)
class SiteImages:
    """Everything one hospital, or the server, holds.

    ``skipped`` are files left out, ``notes`` are to be said, ``folders`` are the source folders: what is below them may
    be named outside by its relative path only.
    """

    name: str
    splits: Mapping[Split, SplitImages]
    skipped: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
