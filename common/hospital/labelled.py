"""An image as the check sees it: whose it is, what it shows, on which side it stands."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.ground.wording import number_of
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import UNKNOWN_CLASS, Attributes, CtRecord, ImageRef, Split, XrayRecord
from fedthorax.common.records.split_file import relative_name

_NOTHING_ELSE = Attributes()

KINDS: Mapping[Modality, str] = {"xray": "X-rays", "ct": "CT slices"}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """``name`` is the path relative to the modality's folder, with the slice number where the file holds several.

    ``labels`` are 1.0, 0.0 or NaN by finding for an X-ray, and the one class index or NaN for a CT slice. ``split`` is
    None where none is given yet. ``identified`` is False where nobody knows the patient.
    """

    modality: Modality
    ref: ImageRef
    name: str
    patient: str
    labels: tuple[float, ...]
    split: Split | None
    attributes: Attributes = _NOTHING_ELSE
    identified: bool = True


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


def kind(modality: Modality, number: int) -> str:
    """``1 X-ray``, ``2 X-rays``."""
    return number_of(number, KINDS[modality][:-1])


def labelled_images(
    xray: Sequence[XrayRecord], ct: Sequence[CtRecord], folders: Mapping[Modality, Path]
) -> tuple[LabelledImage, ...]:
    """The records as the check sees them, X-rays first."""

    def labelled(modality: Modality, record: XrayRecord | CtRecord, labels: tuple[float, ...]) -> LabelledImage:
        name, of = slice_name(record.ref, folders[modality]), record
        return LabelledImage(modality, of.ref, name, of.patient, labels, of.split, of.attributes, of.identified)

    shown = [math.nan if record.cancer_class == UNKNOWN_CLASS else float(record.cancer_class) for record in ct]
    return (
        *(labelled("xray", record, record.findings) for record in xray),
        *(labelled("ct", record, (label,)) for record, label in zip(ct, shown, strict=True)),
    )


def slice_name(image: ImageRef, folder: Path) -> str:
    """The path below ``folder`` and, of a file that holds several slices, which of them."""
    return str(ImageRef(Path(relative_name(image.path, folder)), image.frame))
