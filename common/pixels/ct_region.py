"""Whether a DICOM file is an axial CT slice of a chest."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.pixels.dicom_pixels import AXIAL
from fedthorax.common.records.body_region import capitals, region_elsewhere
from fedthorax.common.records.dicom_header import FramePlace, Header

# Lung lies from -900 to -500 HU, soft tissue above -100: whatever lies between is the partly filled rim.
_AIR_OR_LUNG = -400

_STEP = 4


def lung_share(hounsfield: NDArray[Any]) -> float:
    """Share of the body's area, from 0 to 1, that is lung; (H, W) in Hounsfield units.

    What is as thin as lung and not joined to the border of the picture counts: the lungs, the windpipe, and the gas of
    the bowel, which is little. Every fourth row and column is enough. 0 if there is no body.
    """
    from scipy.ndimage import label

    thin = np.pad(hounsfield[::_STEP, ::_STEP] < _AIR_OR_LUNG, 1, constant_values=True)
    parts, _ = label(thin)
    outside = parts == parts[0, 0]
    body = int((~outside).sum())
    return float((thin & ~outside).sum() / body) if body else 0.0


_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_SCOUT = re.compile(r"\b(LOCALI[SZ]ERS?|SCOUTS?|TOPOGRAMS?|SURVIEW|SCANOGRAM|PLANAR)\b")
_PROJECTION = re.compile(r"\b(MIP|MINIP|MPVR|VRT|3D)\b")


def not_wanted(header: Header) -> str | None:
    """Why the file is no axial chest CT slice, in words that follow its name; None if it is one, or may be one."""
    if header.rows is None:
        return f"holds no picture (modality {header.modality or 'not given'})"
    if header.modality != "CT":
        return f"has the modality {header.modality or 'not given'}, expected CT"
    if header.sop_class == _SECONDARY_CAPTURE:
        return "is a picture of a screen, not a CT slice"
    kind, series = capitals(" ".join(header.image_type)), capitals(header.series_description)
    if _SCOUT.search(kind) or _SCOUT.search(series):
        return "is a scout view (localizer), not a CT slice"
    if _PROJECTION.search(kind) or _PROJECTION.search(series):
        return "is a projection of many slices, not a CT slice"
    elsewhere = region_elsewhere(header)
    return elsewhere and f"shows no chest: {elsewhere}"


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
