"""Sex, age, view and scanner as label files and DICOM headers write them."""

import re
from collections.abc import Sequence
from typing import Literal

from fedthorax.common.data.records import Attributes

_SEXES: dict[str, Literal["F", "M"]] = {
    **dict.fromkeys(("f", "female", "w", "weiblich", "woman"), "F"),
    **dict.fromkeys(("m", "male", "männlich", "man"), "M"),
}
_NOT_SAID = frozenset({"", "unknown", "unk", "u", "o", "other", "d", "divers", "n/a", "na", "nan", "none", "-"})

_YEARS = {"d": 1 / 365.25, "w": 7 / 365.25, "m": 1 / 12, "y": 1.0}
_OLDEST = 120

AGE_BANDS = ("0-17", "18-39", "40-59", "60-79", "80+")
"""Ages in whole years; 80+ in one, because few people are that old."""


def sex_of(cell: str) -> Literal["F", "M"] | None:
    return _SEXES.get(cell.strip().casefold())


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


def view_of(cell: str) -> str | None:
    """PA, AP or LL (lateral, of either side); None for any other view, and for the bare word frontal."""
    words = re.split(r"[\s_,;/-]+", cell.strip().upper())
    if words[0] in ("PA", "POSTERO", "POSTEROANTERIOR"):
        return "PA"
    if words[0] in ("AP", "ANTERO", "ANTEROPOSTERIOR"):
        return "AP"
    lateral = {"L", "LL", "RL", "LLD", "RLD", "LAT", "LATERAL"}
    return "LL" if words[0] in lateral or (words[0] in ("LEFT", "RIGHT") and words[1:2] == ["LATERAL"]) else None


def not_said(cell: str) -> bool:
    """Whether the cell says in words, or by being empty, that the attribute is not known."""
    return cell.strip().casefold() in _NOT_SAID


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


def first_view(cells: Sequence[str]) -> str | None:
    """The view that the first cell tells which tells one: CheXpert has AP/PA in one column and lateral in another."""
    return next((view for view in map(view_of, cells) if view), None)


def _year(cell: str) -> int | None:
    """Of 1935, 1935.0, 19350401, 1935-04-01, 01.04.1935 and 04/01/1935."""
    match = re.fullmatch(r"(\d{4})(?:[.,]0)?|(\d{4})-?\d{2}-?\d{2}.*|\d{1,2}[./]\d{1,2}[./](\d{4})", cell.strip())
    return int(next(year for year in match.groups() if year)) if match else None
