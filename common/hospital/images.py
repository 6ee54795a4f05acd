"""Decoded images of one modality and one split, with what belongs to each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.issues.issue import Issue
from fedthorax.common.records.records import Attributes, BadFile, ImageRef, Split


@dataclass(frozen=True)
class ImageSet:
    """N images, row by row.

    ``images`` is uint8 of shape (N, S, S, 3), in memory or memory-mapped. ``targets`` is float32 (N, findings) with
    1 present, 0 absent, NaN unknown for X-rays, and int32 (N,) with -1 unknown for CT slices. ``digests`` are hashes of
    the decoded pixels before resizing: equal digests mean the same picture, whatever the file format. ``attributes``
    is empty where nothing else is known of any image. ``frames`` are the numbers of pictures in their files, see
    ``ImageRef``; None: each file holds one. ``named``: whether the patient is known; empty: all are.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    paths: tuple[Path, ...]
    patients: tuple[str, ...]
    digests: tuple[str, ...]
    attributes: tuple[Attributes, ...] = ()
    frames: tuple[int | None, ...] | None = None
    named: tuple[bool, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def ref(self, row: int) -> ImageRef:
        """The file of a row, and which of its pictures."""
        return ImageRef(self.paths[row], self.frames[row] if self.frames is not None else None)


@dataclass(frozen=True)
class SplitImages:
    """The two modalities of one split. Rows of the two do not correspond: pairing joins them."""

    xray: ImageSet
    ct: ImageSet

    def of(self, modality: str) -> ImageSet:
        return self.xray if modality == "xray" else self.ct


@dataclass(frozen=True)
class SiteImages:
    """Everything one hospital, or the server, holds.

    ``skipped`` are files left out, ``notes`` are to be said, ``folders`` are the source folders: what is below them may
    be named outside by its relative path only. ``issues`` are what the check finds, errors only if they are accepted.
    """

    name: str
    splits: Mapping[Split, SplitImages]
    skipped: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    issues: tuple[Issue, ...] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of X-ray and CT those of which there is an image in any split."""
        return tuple(name for name in ("xray", "ct") if any(len(split.of(name)) for split in self.splits.values()))
