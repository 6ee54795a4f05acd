"""Sex, age, view and scanner as label files and DICOM headers write them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fedthorax.common.records.records import Attributes
from fedthorax.common.records.table import Row, Table

_SEXES: dict[str, Literal["F", "M"]] = {
    **dict.fromkeys(("f", "female", "w", "weiblich", "woman"), "F"),
    **dict.fromkeys(("m", "male", "männlich", "man"), "M"),
}
_NOT_SAID = frozenset({"", "unknown", "unk", "u", "o", "other", "d", "divers", "n/a", "na", "nan", "none", "-"})

_YEARS = {"d": 1 / 365.25, "w": 7 / 365.25, "m": 1 / 12, "y": 1.0}
_OLDEST = 120

AGE_BANDS = ("0-17", "18-39", "40-59", "60-79", "80+")
"""Ages in whole years; 80+ in one, because few people are that old."""


@dataclass(frozen=True)
class AttributeColumns:
    """The columns of a table; of several ``view`` columns the first counts that tells one."""

    sex: str | None = None
    age: str | None = None
    birth: str | None = None
    study_date: str | None = None
    view: tuple[str, ...] = ()
    scanner: tuple[str, ...] = ()


def sex_of(cell: str) -> Literal["F", "M"] | None:
    return _SEXES.get(cell.strip().casefold())


@lru_cache(maxsize=1024)
def age_of(cell: str) -> float | None:
    """Years: a number, with a decimal point or comma, or DICOM's three digits with D, W, M or Y, such as ``058Y``.

    None outside 0 to 120 years: ChestX-ray14 has a patient of 411. None for ``000Y``, which de-identification leaves.
    """
    match = re.fullmatch(r"(\d{1,3})([dwmy])", cell.strip().casefold())
    if match and int(match[1]) == 0:
        return None
    if match:
        years = int(match[1]) * _YEARS[match[2]]
    elif re.fullmatch(r"\d{1,3}([.,]\d*)?", cell.strip()):
        years = float(cell.strip().replace(",", "."))
    else:
        return None
    return years if years <= _OLDEST else None


def age_between(birth: str, study: str) -> float | None:
    """Years from the year of birth to that of the image, so right within one year."""
    born, seen = _year(birth), _year(study)
    if born is None or seen is None or not 0 <= seen - born <= _OLDEST:
        return None
    return float(seen - born)


@lru_cache(maxsize=1024)
def view_of(cell: str) -> str | None:
    """PA, AP or LL (lateral, of either side); None for any other view, and for the bare word frontal."""
    words = re.split(r"[\s_,;/-]+", cell.strip().upper())
    if words[0] in ("PA", "POSTERO", "POSTEROANTERIOR"):
        return "PA"
    if words[0] in ("AP", "ANTERO", "ANTEROPOSTERIOR"):
        return "AP"
    lateral = {"L", "LL", "RL", "LLD", "RLD", "LAT", "LATERAL"}
    return "LL" if words[0] in lateral or (words[0] in ("LEFT", "RIGHT") and words[1:2] == ["LATERAL"]) else None


def age_band(age_years: float) -> str:
    return AGE_BANDS[sum(age_years >= lowest for lowest in (18, 40, 60, 80))]


def completed(attributes: Attributes, header: Attributes) -> Attributes:
    """What the label file says, and the DICOM header where that says nothing."""
    return Attributes(
        sex=attributes.sex or header.sex,
        age_years=header.age_years if attributes.age_years is None else attributes.age_years,
        view=attributes.view or (view_of(header.view) if header.view else None),
        scanner=attributes.scanner or header.scanner,
    )


def read_attributes(table: Table, columns: AttributeColumns) -> tuple[list[Attributes], tuple[str, ...]]:
    """Those of each row, and notes on cells that were not understood: such an attribute is unknown."""
    strange: dict[str, list[int]] = {}

    def said(row: Row, column: str | None) -> str:
        cell = row.cells[column] if column else ""
        return "" if cell.casefold() in _NOT_SAID else cell

    def remember(row: Row, column: str | None, cell: str) -> None:
        if cell and column:
            strange.setdefault(column, []).append(row.line)

    found = []
    for row in table.rows:
        if (sex := sex_of(cell := said(row, columns.sex))) is None:
            remember(row, columns.sex, cell)
        if (age_years := age_of(cell := said(row, columns.age))) is None:
            remember(row, columns.age, cell)
            age_years = age_between(said(row, columns.birth), said(row, columns.study_date))
        views = [said(row, column) for column in columns.view]
        if (view := next((view for view in map(view_of, views) if view), None)) is None:
            remember(row, columns.view[0] if columns.view else None, views[0] if views else "")
        scanner = " ".join(cell for column in columns.scanner if (cell := said(row, column)))
        found.append(Attributes(sex, age_years, view, scanner or None))
    # Notes leave the hospital, and what stands in a wrong column may be a name: no cell is quoted.
    notes = tuple(
        f"{table.path.name}, column {column}: {len(lines)} cells, the first in line {lines[0]}, are not understood and "
        "count as unknown"
        for column, lines in strange.items()
    )
    return found, notes


def _year(cell: str) -> int | None:
    """Of 1935, 1935.0, 19350401, 1935-04-01, 01.04.1935 and 04/01/1935."""
    match = re.fullmatch(r"(\d{4})(?:[.,]0)?|(\d{4})-?\d{2}-?\d{2}.*|\d{1,2}[./]\d{1,2}[./](\d{4})", cell.strip())
    return int(next(year for year in match.groups() if year)) if match else None
