"""What a hospital says about its data when it joins a run: counts, no pictures, no patients; null is a hidden count."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import Count, Done, Known, Line, Shown
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.one_line import one_line

Cell = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line), leaving.SharedName()]
Cells = Annotated[dict[Cell, Shown | None], Field(max_length=1000)]
Quoting = Annotated[Line, leaving.Words(files=True)]
Split = Literal["train", "valid", "test"]
Modality = Literal["xray", "ct"]


class AttributeCounts(Frozen):
    """Images by cell of each attribute."""

    sex: Cells
    age_years: Cells
    view: Cells
    scanner: Cells


class ByModality(Frozen):
    xray: AttributeCounts
    ct: AttributeCounts


class SplitCounts(Frozen):
    """Images and patients of a split; ``findings`` and ``cancer_classes`` are those of the experiment."""

    xray: Shown | None
    ct: Shown | None
    xray_patients: Shown | None
    ct_patients: Shown | None
    findings: Annotated[dict[Known, Cells], Field(max_length=1000)]
    cancer_classes: Cells
    attributes: ByModality


class Skipped(Frozen):
    """A file that was left out, or so many of one fault."""

    file: Quoting
    reason: Quoting
    count: Annotated[Count, leaving.Machine("files that cannot be used, by fault")]


class Found(Frozen):
    """An issue of the check that the hospital has accepted."""

    code: Known
    level: Annotated[Literal["error", "warning", "note"], leaving.Code()]
    modality: Annotated[Modality | None, leaving.Code()]
    count: Shown | None


class UsesTold(Frozen):
    """How often an image stands in the pairs of an epoch; null without images."""

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
    splits: Annotated[dict[Annotated[Split, leaving.Code()], SplitCounts], Field(max_length=3)]
    modalities: Annotated[tuple[Modality, ...], Field(max_length=2), leaving.Code()]
    skipped: Annotated[tuple[Skipped, ...], Field(max_length=100_000)]
    notes: Annotated[tuple[Quoting, ...], Field(max_length=1000)]
    check: Annotated[tuple[Found, ...], Field(max_length=1000)]
    pairing: PairingTold | None

    @property
    def pairs(self) -> int:
        return self.pairing.pairs if self.pairing else 0
