"""Whether a DICOM file is an axial CT slice of a chest."""

import re

import numpy as np

from fedthorax.common.pixels.dicom_pixels import AXIAL
from fedthorax.common.records.dicom_header import FramePlace, Header

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_SCOUT = re.compile(r"\b(LOCALI[SZ]ERS?|SCOUTS?|TOPOGRAMS?|SURVIEW|SCANOGRAM|PLANAR)\b")
_PROJECTION = re.compile(r"\b(MIP|MINIP|MPVR|VRT|3D)\b")

# Words of the languages that scanners in Europe and America are set to.
_CHEST = re.compile(
    r"\b(CHEST|THORA\w*|THX|LUNGS?|LUNGE\w*|PULM\w*|HEART|HERZ|CARD\w*|CORONAR\w*|MEDIAST\w*|TORAX|TORACE|TORSO|POUMONS?|"
    r"POLMON\w*|BRUST\w*)\b"
)
_ELSEWHERE = re.compile(
    r"\b(ABD\w*|PEL\w*|BECKEN|HEAD|BRAIN|SKULL|KOPF|CRANI\w*|NECK|HALS|C ?SPINE|L ?SPINE|LUMBAR|LWS|HWS|SINUS\w*|"
    r"ORBITS?|LIVER|LEBER|KIDNEYS?|RENAL|COLON|KNEE|KNIE|HIPS?|ANKLE|FOOT|WRIST|HAND|ELBOW|LEGS?|FEMUR|EXTREMIT\w*)\b"
)
_LYING = re.compile(r"\b(HEAD|FEET) ?FIRST\b")


def not_wanted(header: Header) -> str | None:
    """Why the file is no axial chest CT slice, in words that follow its name; None if it is one, or may be one."""
    if header.rows is None:
        return f"holds no picture (modality {header.modality or 'not given'})"
    if header.modality != "CT":
        return f"has the modality {header.modality or 'not given'}, expected CT"
    if header.sop_class == _SECONDARY_CAPTURE:
        return "is a picture of a screen, not a CT slice"
    kind, series = _words(" ".join(header.image_type)), _words(header.series_description)
    if _SCOUT.search(kind) or _SCOUT.search(series):
        return "is a scout view (localizer), not a CT slice"
    if _PROJECTION.search(kind) or _PROJECTION.search(series):
        return "is a projection of many slices, not a CT slice"
    elsewhere = _region_elsewhere(header)
    if elsewhere:
        return f"shows no chest: {elsewhere}"
    return None


def not_axial(place: FramePlace) -> str | None:
    """Why the slice is not axial; None if it is, or if the file does not say how it lies."""
    normal = normal_of(place)
    if normal is None or abs(normal[2]) >= AXIAL:
        return None
    return f"is a {'coronal' if abs(normal[1]) > abs(normal[0]) else 'sagittal'} slice, expected an axial one"


def height_of(place: FramePlace) -> float | None:
    """Where an axial slice lies along its normal, in millimetres, rising towards the head; None if unknown."""
    normal = normal_of(place)
    if place.position is None:
        return None
    if normal is None:
        return place.position[2]
    return float(np.dot(place.position, normal)) * (1 if normal[2] >= 0 else -1)


def normal_of(place: FramePlace) -> tuple[float, float, float] | None:
    if place.orientation is None:
        return None
    x, y, z = np.cross(place.orientation[:3], place.orientation[3:])
    return float(x), float(y), float(z)


def _region_elsewhere(header: Header) -> str | None:
    """The first text that names a part of the body decides, the most particular first: a whole study often says chest
    and abdomen, of which a series is one. In one text the chest wins.
    """
    for name, text in (
        ("series", header.series_description),
        ("body part", header.body_part),
        ("protocol", header.protocol),
        ("study", header.study_description),
    ):
        words = _LYING.sub(" ", _words(text))
        if _CHEST.search(words):
            return None
        if _ELSEWHERE.search(words):
            return f"the {name} is called {text}"
    return None


def _words(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", " ", text.upper())
