"""Where the images lie and how they become pairs."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from fedthorax.common.config.label_mapping import LabelFormat, MappingValue, SliceMappingValue
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.names import fault_of_name
from fedthorax.common.issues.issue import ACCEPTABLE, ERROR_CODES, UNUSABLE_FILES

CENTRAL = "central"
"""What the server's own folders are called where a hospital's name could stand."""

_PathValue = Annotated[Path, Field(strict=False)]


def folder_shorthand(value: Any) -> Any:
    """``xray: some/folder`` means ``xray: {folder: some/folder}``."""
    return {"folder": value} if isinstance(value, (str, Path)) else value


def _checked_pattern(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if "patient" not in groups:
        raise ValueError(f"{pattern!r} has no group (?P<patient>…), which says what in the path is the patient's id")
    return pattern


_PatientPattern = Annotated[str, AfterValidator(_checked_pattern)]


class XraySource(Frozen):
    """A folder of X-rays, in any depth, and the CSV file that labels them."""

    folder: _PathValue = Field(description="Folder that holds the X-ray images, in any depth.")
    labels: _PathValue | None = Field(
        default=None,
        description="CSV file of the labels; null: labels.csv, or the file of a public collection, inside the folder.",
    )
    format: LabelFormat = Field(
        default="auto",
        description="plain: `file, patient_id, one column a finding`; nih: ChestX-ray14; chexpert; padchest; mimic: "
        "MIMIC-CXR-JPG; auto: by the header.",
    )
    further_tables: tuple[_PathValue, ...] = Field(
        default=(),
        strict=False,
        description="CSV files with further columns of the images or studies, joined to the label file.",
    )
    mapping: MappingValue | None = Field(
        default=None,
        description="Where the label file differs from its format; a path: this mapping stands in a YAML file.",
    )
    patient_pattern: _PatientPattern | None = Field(
        default=None,
        description="Regular expression with a group `patient`, searched in the path below the folder where neither "
        "the label file nor the image tells the patient.",
    )


class CtSource(Frozen):
    """A folder of CT slices: one folder a class, directly or below train/, valid/ and test/, or a table of classes."""

    folder: _PathValue = Field(description="Folder that holds the CT slices, or one folder a cancer class.")
    labels: _PathValue | None = Field(
        default=None,
        description="CSV file of the slices, with a row a file, series or folder: patient, class, split, sex, age, "
        "scanner; null: slices.csv inside the folder, if it is there.",
    )
    mapping: SliceMappingValue | None = Field(
        default=None, description="Where the table's columns are called otherwise; a path: this stands in a YAML file."
    )
    classes: dict[str, str | None] = Field(
        default={},
        description="This hospital's class or class folder: the consortium's class, or null for slices of unknown "
        "class; those that are not named here are called as the class.",
    )
    patient_pattern: _PatientPattern | None = Field(
        default=None,
        description="Regular expression with a group `patient`, searched in the path below the folder where neither "
        "slices.csv nor the image tells the patient; null: file names of the form PATIENT__ANYTHING.",
    )


class SourceConfig(Frozen):
    """The folders of a hospital, or of the server. A hospital may lack one of the two (``model.absent``)."""

    xray: Annotated[XraySource | None, BeforeValidator(folder_shorthand)] = Field(
        default=None, description="The X-rays; null: there are none here."
    )
    ct: Annotated[CtSource | None, BeforeValidator(folder_shorthand)] = Field(
        default=None, description="The CT slices; null: there are none here."
    )
    splits: _PathValue | None = Field(
        default=None,
        description="CSV file of the split, as `fedthorax check --fix-splits` writes it; it goes before class folders "
        "and label files. null: these tell, or the split is drawn.",
    )

    @model_validator(mode="after")
    def _has_images(self) -> "SourceConfig":
        if self.xray is None and self.ct is None:
            raise ValueError("expected a folder xray, a folder ct, or both; found neither")
        return self

    @property
    def by_modality(self) -> dict[Literal["xray", "ct"], Path]:
        """The folder of the X-rays, then of the CT slices, as far as they are here."""
        found: dict[Literal["xray", "ct"], Path] = {}
        if self.xray is not None:
            found["xray"] = self.xray.folder
        if self.ct is not None:
            found["ct"] = self.ct.folder
        return found

    @property
    def lacking(self) -> str | None:
        """The modality that is not here, in words."""
        return "X-rays" if self.xray is None else "CT slices" if self.ct is None else None


class SplitFractions(Frozen):
    """Shares of the patients where neither folders nor a CSV column give the split."""

    train: float = Field(default=0.7, ge=0, le=1, description="Share of patients to train on.")
    valid: float = Field(default=0.15, ge=0, le=1, description="Share of patients to validate on.")
    test: float = Field(default=0.15, ge=0, le=1, description="Share of patients kept for the final score.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> "SplitFractions":
        total = self.train + self.valid + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + valid + test must be 1, but they sum to {total:g}")
        return self


class CtWindow(Frozen):
    """A range of Hounsfield units shown from black to white."""

    center: float = Field(description="Middle of the range, in Hounsfield units.")
    width: float = Field(ge=1, description="Length of the range, in Hounsfield units.")


# Lung, mediastinum, bone: Radiopaedia, "Windowing (CT)", https://radiopaedia.org/articles/windowing-ct
CT_WINDOWS = (CtWindow(center=-600, width=1500), CtWindow(center=50, width=350), CtWindow(center=400, width=1800))


class CtSlices(Frozen):
    """Which slices of a CT series or volume are used; what is given holds together."""

    min_lung_share: float = Field(
        default=0.0, ge=0, lt=1, description="Least share of the body that is lung, by area; 0: not looked at."
    )
    between: tuple[float, float] = Field(
        default=(0.0, 1.0), strict=False, description="Part of the series from its lowest (0) to its highest (1) slice."
    )
    between_mm: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        default=None, description="Heights in millimetres, as the scanner counts them; null: all."
    )
    every: int = Field(default=1, ge=1, description="Every n-th of the slices that remain.")
    most: int | None = Field(
        default=None, ge=1, description="At most so many of them, evenly spaced from the feet to the head; null: all."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "CtSlices":
        low, high = self.between
        if not 0 <= low < high <= 1:
            raise ValueError(f"between must be two shares from 0 to 1 in rising order, found [{low:g}, {high:g}]")
        if self.between_mm is not None and not self.between_mm[0] < self.between_mm[1]:
            raise ValueError(f"between_mm must be in rising order, found {list(self.between_mm)}")
        return self


class CacheConfig(Frozen):
    """Decoded images are kept as uint8; pooled features of frozen backbones as float32."""

    memory_mb: int = Field(default=2048, ge=0, description="Decoded images of a process kept in memory, in MiB.")
    folder: _PathValue | None = Field(
        default=None,
        description="Where decoded images beyond memory_mb and pooled features are kept; null: a folder that is "
        "removed with the process.",
    )
    disk_gb: float = Field(
        default=20.0,
        ge=0,
        description="Decoded images kept in folder, in GiB; the least recently used make room for new ones.",
    )


class DataConfig(Frozen):
    """Hospitals, the server's own folders, and the way of an image to a pair."""

    hospitals: dict[str, SourceConfig | None] = Field(
        min_length=1,
        description="The hospitals by name; null: the hospital's own site.yaml names its folders (consortium only).",
    )
    central: SourceConfig | None = Field(
        description="The server's own folders: the validation split selects the model, the test split is scored once. "
        "null: where a hospital reads this."
    )
    splits: SplitFractions = Field(default=SplitFractions(), description="Splits drawn at a hospital.")
    central_splits: SplitFractions = Field(
        default=SplitFractions(train=0.0, valid=0.5, test=0.5), description="Splits drawn from the server's folders."
    )
    aspect: Literal["pad", "squash"] = Field(
        default="squash",
        description="squash: stretch to the square; pad: keep the proportions and fill up with black, "
        "which shows the network the format of a picture (docs/results.md).",
    )
    ct_windows: tuple[CtWindow, ...] = Field(
        default=CT_WINDOWS,
        strict=False,
        min_length=1,
        max_length=3,
        description="Windows of DICOM and NIfTI slices: lung, mediastinum and bone, one a colour, or a single one.",
    )
    ct_slices: CtSlices = Field(default=CtSlices(), description="Which slices of a DICOM series or NIfTI volume count.")
    on_bad_file: Literal["error", "skip"] = Field(
        default="error", description="A file that cannot be read stops the run, or is left out, named and counted."
    )
    accept: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Codes of check errors (docs/check.md) with which the run goes on; the report names them. Without, "
        "a run refuses such data.",
    )
    pairing: Literal["random", "patient_first"] = Field(
        default="random",
        description="random: any X-ray with any CT slice; patient_first: a patient's own pair where both exist.",
    )
    epoch_length: Literal["longest", "shortest", "xray", "ct"] = Field(
        default="longest", description="How many pairs an epoch has: as many as this side has images."
    )
    sample_by: Literal["image", "patient"] = Field(
        default="image",
        description="image: an epoch takes every image alike; patient: one image of each patient, another in the next "
        "epoch, so that a long CT series weighs no more than a single slice, here and in the average.",
    )
    cache: CacheConfig = Field(default=CacheConfig(), description="What is kept between epochs.")
    privacy: PrivacyConfig = Field(
        default=PrivacyConfig(), description="Least protection of what hospitals tell in `fedthorax stats`."
    )

    @field_validator("ct_windows")
    @classmethod
    def _one_or_three(cls, windows: tuple[CtWindow, ...]) -> tuple[CtWindow, ...]:
        if len(windows) == 2:
            raise ValueError("expected one window, or three: one a colour channel; found 2")
        return windows

    @field_validator("accept")
    @classmethod
    def _known_codes(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        for code in codes:
            if code in ERROR_CODES - ACCEPTABLE:
                raise ValueError(f"{code} cannot be accepted: without these labels no run can use the images")
            if code not in ERROR_CODES:
                close = get_close_matches(code, ACCEPTABLE, n=1)
                hint = f"did you mean {close[0]}?" if close else f"the errors are {', '.join(sorted(ACCEPTABLE))}"
                raise ValueError(f"{code!r} is no error of the check; {hint}")
        return codes

    @property
    def accepted(self) -> frozenset[str]:
        """Codes of check errors with which a run goes on."""
        return frozenset(self.accept) | (UNUSABLE_FILES if self.on_bad_file == "skip" else frozenset())

    @model_validator(mode="after")
    def _plain_hospital_names(self) -> "DataConfig":
        for name in self.hospitals:
            if name == CENTRAL:
                raise ValueError(f"hospital name {name!r} stands for the server's own folders; choose another name")
            fault = fault_of_name(name)
            if any(c in name for c in '/\\"') or name.startswith("."):
                fault = 'must not begin with a dot, or hold / \\ "'
            if fault is not None:
                raise ValueError(f"hospital name {name!r} {fault}")
        return self

    def sources_of(self, hospital: str) -> SourceConfig:
        """The hospital's folders. Raises ValueError where only the hospital knows them, or where there is none."""
        if hospital not in self.hospitals:
            raise ValueError(f"no hospital {hospital!r} in data.hospitals; expected one of {', '.join(self.hospitals)}")
        sources = self.hospitals[hospital]
        if sources is None:
            raise ValueError(
                f"data.hospitals.{hospital} is null: only the hospital's own site.yaml names its folders, which "
                "serves a consortium; give the two folders to run this here"
            )
        return sources

    def folders_of(self, name: str) -> tuple[SourceConfig, SplitFractions]:
        """The folders of a hospital or, as CENTRAL, of the server, and what is drawn from them."""
        if name == CENTRAL:
            return self.central_sources(), self.central_splits
        return self.sources_of(name), self.splits

    def central_sources(self) -> SourceConfig:
        """The server's folders. Raises ValueError where they are null."""
        if self.central is None:
            raise ValueError("data.central is null: the server needs its own X-ray and CT folders to choose a model by")
        return self.central
