"""What is known of an image before it is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

UNKNOWN_CLASS = -1

Fault = Literal[
    "missing",
    "broken_link",
    "permission",
    "disk",  # an error of the disk, or a folder in place of a file
    "empty",
    "truncated",  # or damaged: it begins like an image
    "not_an_image",
    "unsupported",  # an image, but of a kind that is not read
    "other_modality",
    "other_scale",  # a CT slice that can be decoded, but whose series holds no Hounsfield units
    "not_used",  # a good picture that is none of the axial chest slices or X-rays wanted here
    "other",
]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What else is known of an image and its patient; None where it is not."""

    sex: Literal["F", "M"] | None = None
    age_years: float | None = None
    view: str | None = None  # PA, AP, LL
    scanner: str | None = None  # manufacturer and model


@dataclass(frozen=True, slots=True, order=True)
class ImageRef:
    """One picture on the disk: a file and, of a file that holds several, which of them, counted from 0.

    ``frame`` is None for the only picture of a file. Slices of a volume are counted from the feet to the head.
    """

    path: Path
    frame: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.frame is None else f"{self.path} (slice {self.frame})"

    def below(self, folders: Iterable[Path]) -> str:
        """Its name below one of the folders, never an absolute path: how a hospital's disks are arranged is nobody's
        business outside."""
        mark = "" if self.frame is None else f"#{self.frame}"
        inside = [self.path.relative_to(folder).as_posix() for folder in folders if self.path.is_relative_to(folder)]
        return (inside or [self.path.name])[0] + mark


@dataclass(frozen=True, slots=True)
class XrayRecord:
    """One chest X-ray.

    ``patient`` is unique within the hospital; a file without a patient id is its own patient (``identified`` False).
    ``findings`` follows the order of ``labels.findings``: 1.0 present, 0.0 absent, NaN unknown. ``split`` is None until
    one is given or drawn. ``line`` is that of the label file.
    """

    path: Path
    patient: str
    findings: tuple[float, ...]
    split: Split | None = None
    attributes: Attributes = Attributes()
    identified: bool = True
    line: int = 0

    @property
    def ref(self) -> ImageRef:
        return ImageRef(self.path)


@dataclass(frozen=True, slots=True)
class CtRecord:
    """One axial chest CT slice; ``cancer_class`` is an index into ``labels.cancer_classes``, or ``UNKNOWN_CLASS``."""

    path: Path
    patient: str
    cancer_class: int
    split: Split | None = None
    attributes: Attributes = Attributes()
    frame: int | None = None  # of a file that holds several slices, see ImageRef
    identified: bool = True

    @property
    def ref(self) -> ImageRef:
        return ImageRef(self.path, self.frame)


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that could not be used, and why, in words for the person who keeps the folder.

    ``frame`` is None if the whole file is meant; ``fault`` is the reason in one of few words, to count by.
    """

    path: Path
    reason: str
    frame: int | None = None
    fault: Fault = field(default="other", compare=False)

    @property
    def ref(self) -> ImageRef:
        return ImageRef(self.path, self.frame)

    def __str__(self) -> str:
        return f"{self.ref}: {self.reason}"
