"""What a hospital says of itself when it joins a run, beside its statistics: sizes, no pictures, no patients.

Labels, sex, age and scanners stand in the statistics alone (statistics.py): of two tables that overlap one could be
taken from the other, and what is left are few patients. null is a hidden count.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import Count, Done, Known, Line, Shown
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.records.records import Fault

Quoting = Annotated[Line, leaving.Words(files=True)]
Split = Literal["train", "valid", "test"]
Modality = Literal["xray", "ct"]

FAULT_WORDS: Mapping[Fault, str] = {
    "missing": "do not exist",
    "broken_link": "are links to files that do not exist",
    "permission": "may not be read",
    "disk": "cannot be read from the disk",
    "empty": "are empty",
    "truncated": "are truncated or damaged",
    "not_an_image": "are no images",
    "unsupported": "are images of a kind that is not read",
    "other_modality": "are of another modality",
    "other_scale": "hold no Hounsfield units",
    "not_used": "are no chest radiographs and no axial chest CT slices",
    "other": "cannot be used",
}


class SplitCounts(Frozen):
    """Images and patients of a split."""

    xray: Shown | None
    ct: Shown | None
    xray_patients: Shown | None
    ct_patients: Shown | None


class Skipped(Frozen):
    """A file that was left out, or so many of one fault; ``file`` and ``reason`` are null where no file is named."""

    fault: Annotated[Fault, leaving.Code()]
    count: Annotated[Count, leaving.Machine("files that cannot be used, by fault")]
    file: Quoting | None = None
    reason: Quoting | None = None


class Found(Frozen):
    """An issue of the check that the hospital has accepted, or that need not be accepted."""

    code: Known
    level: Annotated[Literal["error", "warning", "note"], leaving.Code()]
    modality: Annotated[Modality | None, leaving.Code()]
    count: Shown | None


class UsesTold(Frozen):
    """How often an image stands in the pairs of an epoch; null without images, and where their number is hidden."""

    min: Done | None
    mean: Annotated[float, Field(ge=0, le=1e12), leaving.Machine("uses of an image")] | None
    max: Done | None


class PairingTold(Frozen):
    """``pairs`` is what one pass over the images has: no update weighs more."""

    pairs: Annotated[Count, leaving.Machine("pairs of an epoch, which weigh the update")]
    xray_uses: UsesTold
    ct_uses: UsesTold
    same_patient_pairs: Shown | None


class Passport(Frozen):
    """``notes`` are remarks on the folders in full; ``notes_kept`` so many stay at the hospital."""

    splits: Annotated[dict[Annotated[Split, leaving.Code()], SplitCounts], Field(max_length=3)]
    modalities: Annotated[tuple[Modality, ...], Field(max_length=2), leaving.Code()]
    skipped: Annotated[tuple[Skipped, ...], Field(max_length=100_000)]
    notes: Annotated[tuple[Quoting, ...], Field(max_length=1000)]
    notes_kept: Annotated[Count, leaving.Machine("remarks on the folders")] = 0
    check: Annotated[tuple[Found, ...], Field(max_length=1000)]
    pairing: PairingTold | None

    @property
    def pairs(self) -> int:
        return self.pairing.pairs if self.pairing else 0
