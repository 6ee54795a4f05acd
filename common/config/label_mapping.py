"""What the consortium predicts, and what a hospital's label file calls it where that differs from the named formats."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from fedthorax.common.config.yaml_text import read_yaml
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.names import fault_of_name, skeleton


class LabelsConfig(Frozen):
    """Order matters: it is the order of the heads' output units."""

    findings: tuple[str, ...] = Field(
        min_length=1, strict=False, description="Names of the X-ray findings, as the label files' columns spell them."
    )
    cancer_classes: tuple[str, ...] = Field(
        min_length=2, strict=False, description="Names of the CT classes, as the class folders are called."
    )

    @field_validator("findings", "cancer_classes")
    @classmethod
    def _distinct_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if fault := fault_of_name(name):
                raise ValueError(f"the name {name!r} {fault}")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names must be distinct, but these are repeated: {', '.join(repeated)}")
        for one, other in itertools.combinations(names, 2):
            if skeleton(one) == skeleton(other):
                raise ValueError(f"the names {one!r} and {other!r} look alike")
        return names


LabelFormat = Literal["auto", "plain", "nih", "chexpert", "padchest", "mimic"]
Match = Literal["path", "name", "stem"]
Uncertain = Literal["ignore", "ones", "zeros"]


def _texts(value: Any) -> Any:
    """One text means a list of one; cells are text, so ``[1, yes]`` and ``['1', 'yes']`` are the same words."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)):
        return tuple(
            str(item).lower() if isinstance(item, bool) else str(item) if isinstance(item, (int, float)) else item
            for item in value
        )
    return value


_Column = str | None
_Columns = Annotated[tuple[str, ...] | None, Field(strict=False), BeforeValidator(_texts)]


class LabelMapping(Frozen):
    """Which column is what, and how the names become the consortium's findings.

    null: as the format says. An empty text or list: the file has no such thing.
    """

    encoding: Literal["utf-8", "windows-1252"] | None = Field(
        default=None, description="Encoding of the CSV files; null: UTF-8, or UTF-16 with its byte-order mark."
    )
    file: _Column = Field(default=None, description="Column that names the image.")
    match: Match | None = Field(
        default=None,
        description="path: the column holds a path inside the folder; name: a file name, found in any depth; stem: a "
        "file name without its ending.",
    )
    join: _Columns = Field(
        default=None, description="Columns on which the label file and further_tables are joined, such as a study."
    )
    patient: _Column = Field(default=None, description="Column of the patient's id.")
    split: _Column = Field(default=None, description="Column that says train, valid or test.")
    sex: _Column = Field(default=None, description="Column of the patient's sex.")
    age: _Column = Field(default=None, description="Column of the age in years, such as 58 or 058Y.")
    birth: _Column = Field(default=None, description="Column of the date or year of birth, where there is no age.")
    study_date: _Column = Field(default=None, description="Column of the date of the image, to compute the age.")
    view: _Columns = Field(default=None, description="Columns of the projection; the first that tells it counts.")
    scanner: _Columns = Field(default=None, description="Columns of the manufacturer and the model.")
    labels: _Column = Field(
        default=None, description="Column that lists an image's findings; empty text: one column a finding."
    )
    separator: str | None = Field(
        default=None,
        min_length=1,
        description="What stands between the listed names; lists such as ['a', 'b'] need none.",
    )
    names: dict[str, str | None] = Field(
        default={},
        description="The file's name of a finding: the consortium's name of it, or null for a name to leave out.",
    )
    searched: _Columns = Field(
        default=None,
        description="Names that the images were searched for, so that a name not listed means absent; null: those "
        "that the file lists at all.",
    )
    no_finding: str | None = Field(default=None, description="What the file calls an image without a finding.")
    beside_no_finding: _Columns = Field(
        default=None, description="Names of which no_finding says nothing, such as Support Devices."
    )
    incomplete: _Columns = Field(
        default=None, description="Names that leave all findings unknown that are not listed beside them."
    )
    present: _Columns = Field(default=None, description="Cells that mean present.")
    absent: _Columns = Field(default=None, description="Cells that mean absent.")
    unknown: _Columns = Field(default=None, description="Cells that mean unknown, beside an empty one.")
    uncertain_cells: _Columns = Field(default=None, description="Cells that mean uncertain, such as -1.")
    empty: Literal["unknown", "absent", "refused"] | None = Field(
        default=None, description="What an empty cell of a finding, or an empty list, means."
    )
    uncertain: Uncertain | None = Field(
        default=None, description="What becomes of uncertain: ignore: unknown; ones: present; zeros: absent."
    )
    uncertain_findings: dict[str, Uncertain] = Field(
        default={}, description="The same for single findings, by the consortium's name."
    )

    @model_validator(mode="after")
    def _words_have_one_meaning(self) -> "LabelMapping":
        seen: dict[str, str] = {}
        for key in ("present", "absent", "unknown", "uncertain_cells"):
            for word in getattr(self, key) or ():
                if seen.setdefault(word, key) != key:
                    raise ValueError(f"{seen[word]} and {key} both hold {word!r}; a cell can mean one thing")
        return self

    def foreign_findings(self, findings: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """(key, finding) for each finding that the mapping names and ``findings`` does not have."""
        named = [(f"names.{name}", finding) for name, finding in self.names.items() if finding is not None]
        named += [(f"uncertain_findings.{finding}", finding) for finding in self.uncertain_findings]
        return tuple((key, finding) for key, finding in named if finding not in findings)


class SliceMapping(Frozen):
    """Which column of a hospital's own CT table is what; null: as its usual name says, an empty text: none."""

    encoding: Literal["utf-8", "windows-1252"] | None = Field(
        default=None, description="Encoding of the CSV file; null: UTF-8, or UTF-16 with its byte-order mark."
    )
    file: _Column = Field(default=None, description="Column that names the file, below the CT folder.")
    match: Match | None = Field(default=None, description="As of X-rays: path, name or stem of the file.")
    series: _Column = Field(default=None, description="Column of the SeriesInstanceUID, where the rows are series.")
    folder: _Column = Field(default=None, description="Column of the folder of slices, where the rows are folders.")
    label: _Column = Field(default=None, description="Column of the class; empty text: class folders tell it.")
    unknown: _Columns = Field(default=None, description="Classes that mean unknown, beside an empty cell.")
    patient: _Column = Field(default=None, description="Column of the patient's id.")
    split: _Column = Field(default=None, description="Column that says train, valid or test.")
    sex: _Column = Field(default=None, description="Column of the patient's sex.")
    age: _Column = Field(default=None, description="Column of the age in years, such as 58 or 058Y.")
    birth: _Column = Field(default=None, description="Column of the date or year of birth, where there is no age.")
    study_date: _Column = Field(default=None, description="Column of the date of the image, to compute the age.")
    scanner: _Columns = Field(default=None, description="Columns of the manufacturer and the model.")


def _mapping_or_file(value: Any, info: ValidationInfo) -> Any:
    """A mapping may stand in a YAML file of its own; only a person's own file may name one, not a message."""
    if not isinstance(value, (str, Path)) or info.mode == "json":
        return value
    path = Path(value).expanduser()
    try:
        return read_yaml(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a label mapping in YAML") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


MappingValue = Annotated[LabelMapping, BeforeValidator(_mapping_or_file)]
SliceMappingValue = Annotated[SliceMapping, BeforeValidator(_mapping_or_file)]
