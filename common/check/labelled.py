"""An image as the check sees it: whose it is, what it shows, on which side it stands."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fedthorax.common.data.records import Attributes, ImageRef, Split

Modality = Literal["xray", "ct"]

KINDS: Mapping[Modality, str] = {"xray": "X-rays", "ct": "CT slices"}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """``name`` is the path relative to the modality's folder, with the slice number where the file holds several.

    ``labels`` are 1.0, 0.0 or NaN by finding for an X-ray, and the one class index or NaN for a CT slice. ``split`` is
    None where none is given yet.
    """

    modality: Modality
    ref: ImageRef
    name: str
    patient: str
    labels: tuple[float, ...]
    split: Split | None
    attributes: Attributes = Attributes()


def differ(images: Iterable[LabelledImage]) -> bool:
    """Whether two of ``images`` contradict each other in a label that both know."""
    known: dict[int, float] = {}
    for image in images:
        for place, value in enumerate(image.labels):
            if not math.isnan(value) and known.setdefault(place, value) != value:
                return True
    return False


def splits_of(images: Iterable[LabelledImage]) -> frozenset[Split]:
    return frozenset(image.split for image in images if image.split is not None)


def names(images: Sequence[LabelledImage]) -> tuple[str, ...]:
    return tuple(image.name for image in images)


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def kind(modality: Modality, number: int) -> str:
    """``1 X-ray``, ``2 X-rays``."""
    return counted(number, KINDS[modality][:-1])
