"""What a hospital says about its data when it joins a run: counts, no pictures, no patients; null is a hidden count."""

from typing import Annotated, Literal

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.messages.fields import Count, Line, Name

Cells = Annotated[dict[Name, Count | None], Field(max_length=1000)]
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

    xray: Count | None
    ct: Count | None
    xray_patients: Count | None
    ct_patients: Count | None
    findings: Annotated[dict[Name, Cells], Field(max_length=1000)]
    cancer_classes: Cells
    attributes: ByModality


class Skipped(Frozen):
    """A file that was left out, or so many of one fault."""

    file: Line
    reason: Line
    count: Count


class Found(Frozen):
    """An issue of the check that the hospital has accepted."""

    code: Name
    level: Literal["error", "warning", "note"]
    modality: Modality | None
    count: Count | None


class UsesTold(Frozen):
    """How often an image stands in the pairs of an epoch; null without images."""

    min: Count | None
    mean: Annotated[float, Field(ge=0, le=1e12)] | None
    max: Count | None


class PairingTold(Frozen):
    """``pairs`` is what one pass over the images has: no update weighs more."""

    pairs: Count
    xray_uses: UsesTold
    ct_uses: UsesTold
    same_patient_pairs: Count | None


class Passport(Frozen):
    splits: Annotated[dict[Split, SplitCounts], Field(max_length=3)]
    modalities: Annotated[tuple[Modality, ...], Field(max_length=2)]
    skipped: Annotated[tuple[Skipped, ...], Field(max_length=100_000)]
    notes: Annotated[tuple[Line, ...], Field(max_length=1000)]
    check: Annotated[tuple[Found, ...], Field(max_length=1000)]
    pairing: PairingTold | None

    @property
    def pairs(self) -> int:
        return self.pairing.pairs if self.pairing else 0
