"""What a DICOM file knows besides its pixels: the patient, the device, and where in the body it lies."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedthorax.common.ground.silence import silence
from fedthorax.common.records.records import Attributes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

HEAD_BYTES = 132

_TAGS = (
    "SOPClassUID",
    "Modality",
    "ImageType",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "ViewPosition",
    "ViewCodeSequence",
    "Manufacturer",
    "ManufacturerModelName",
    "BodyPartExamined",
    "AnatomicRegionSequence",
    "PresentationIntentType",
    "SeriesDescription",
    "ProtocolName",
    "StudyDescription",
    "SeriesInstanceUID",
    "InstanceNumber",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsStored",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)

_VIEWS = {"POSTERO-ANTERIOR": "PA", "ANTERO-POSTERIOR": "AP", "LATERAL": "LL", "LEFT LATERAL": "LL"}
_CT_IMAGES = "1.2.840.10008.5.1.4.1.1.2."  # and, further on, the enhanced ones
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FramePlace:
    """``position`` of the first pixel in millimetres, patient coordinates (x to the left, y to the back, z to the
    head); ``orientation`` holds the directions of a row and of a column, six numbers. None where not given.
    """

    position: Vector | None
    orientation: Vector | None


@dataclass(frozen=True, slots=True)
class Header:
    """Of a DICOM file; None, "" or () where the file does not say.

    Texts are stripped; ``modality``, ``image_type``, ``body_part`` and ``intent`` (of presentation) are in capitals.
    ``rows`` is None if the file holds no picture. ``places`` has one entry a frame.
    """

    modality: str | None
    patient_id: str | None
    attributes: Attributes
    sop_class: str
    image_type: tuple[str, ...]
    intent: str
    body_part: str
    series_description: str
    protocol: str
    study_description: str
    series: str
    instance_number: int | None
    slice_location: float | None
    rows: int | None
    columns: int | None
    bits_stored: int | None
    rescale: tuple[float | None, float | None]
    places: tuple[FramePlace, ...]

    @property
    def cut_off(self) -> bool:
        """Whether the file ends before its picture, and calls itself a CT slice or comes not even to say what it is.
        Raw data of a scanner hold no picture and are of the modality CT too."""
        is_slice = self.modality == "CT" and f"{self.sop_class}.".startswith(_CT_IMAGES)
        return self.rows is None and (self.modality is None or is_slice)


def begins_like_dicom(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (132 bytes or more) is DICOM, with or without the preamble.

    Without the preamble it begins with an element of group 0002 or 0008: an even, small element number, and a value
    representation in letters or, in the implicit form, a small length.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00") or head[3] != 0:
        return False
    if head[4:6] in (b"UL", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"OB", b"PN", b"IS"):
        return True
    return head[2] in (0x00, 0x05, 0x08, 0x16) and int.from_bytes(head[4:8], "little") <= 256


def read_header(path: Path) -> Header | None:
    """The header of the DICOM file ``path``; None if it is none or cannot be read: ``try_decode`` then says why."""
    try:
        with path.open("rb") as stream:
            if not begins_like_dicom(stream.read(HEAD_BYTES)):
                return None
            stream.seek(0)
            with silence():
                from pydicom import dcmread

                return header_of(dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS)))
    except MemoryError:
        raise
    except Exception:  # A damaged file can make the parser fail in any way.
        return None


def header_of(dataset: "Dataset") -> Header:
    """The header of what pydicom has read."""
    return Header(
        modality=_text(dataset, "Modality").upper() or None,
        patient_id=_text(dataset, "PatientID") or None,
        attributes=Attributes(
            sex=_sex(_text(dataset, "PatientSex")),
            age_years=_age(dataset),
            view=_view(dataset),
            scanner=" ".join(filter(None, (_text(dataset, "Manufacturer"), _text(dataset, "ManufacturerModelName"))))
            or None,
        ),
        sop_class=_text(dataset, "SOPClassUID"),
        image_type=tuple(str(value).strip().upper() for value in _values(dataset, "ImageType")),
        intent=_text(dataset, "PresentationIntentType").upper(),
        body_part=_body_part(dataset).upper(),
        series_description=_text(dataset, "SeriesDescription"),
        protocol=_text(dataset, "ProtocolName"),
        study_description=_text(dataset, "StudyDescription"),
        series=_text(dataset, "SeriesInstanceUID"),
        instance_number=_whole(dataset, "InstanceNumber"),
        slice_location=number(dataset, "SliceLocation"),
        rows=_whole(dataset, "Rows"),
        columns=_whole(dataset, "Columns"),
        bits_stored=_whole(dataset, "BitsStored"),
        rescale=(number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")),
        places=tuple(_place(dataset, frame) for frame in range(num_frames(dataset))),
    )


def num_frames(dataset: "Dataset") -> int:
    """1 where the file does not say."""
    return max(1, _whole(dataset, "NumberOfFrames") or 1)


def numbers(dataset: "Dataset", keyword: str) -> Vector:
    """The finite numbers of an element; empty if it is missing or holds anything else."""
    try:
        found = tuple(float(value) for value in _values(dataset, keyword))
    except (TypeError, ValueError):
        return ()
    return found if all(abs(value) < float("inf") for value in found) else ()


def number(dataset: "Dataset", keyword: str) -> float | None:
    """The first number of an element."""
    return next(iter(numbers(dataset, keyword)), None)


def functional_group(dataset: "Dataset", frame: int, keyword: str) -> "Dataset | None":
    """What an enhanced multi-frame file says of one frame, or of all of them; None if it says nothing."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if sequence := group.get(keyword):
            return sequence[0]
    return None


def _values(dataset: "Dataset", keyword: str) -> Sequence[Any]:
    try:
        value = dataset.get(keyword)
    except Exception:  # A value that does not fit its own type counts as missing.
        return ()
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) or not isinstance(value, Sequence) else value


def _text(dataset: "Dataset", keyword: str) -> str:
    return " ".join(str(value) for value in _values(dataset, keyword)).replace("\0", "").strip()


def _whole(dataset: "Dataset", keyword: str) -> int | None:
    value = number(dataset, keyword)
    return None if value is None else int(value)


def _sex(text: str) -> Literal["F", "M"] | None:
    return {"F": "F", "M": "M"}.get(text.upper())  # type: ignore[return-value]  # O, other, is not one of the two


def _age(dataset: "Dataset") -> float | None:
    """From the age, or else from the dates of birth and study. 000Y is what de-identification leaves, not a newborn."""
    match = re.fullmatch(r"(\d{1,3})([DWMY]?)", _text(dataset, "PatientAge").upper())
    if match and int(match[1]) > 0:
        return int(match[1]) * _YEARS[match[2] or "Y"]
    born, seen = (_date(_text(dataset, keyword)) for keyword in ("PatientBirthDate", "StudyDate"))
    if match or born is None or seen is None or not 0 <= (days := (seen - born).days) < 120 * 366:
        return None
    return float(int(days / 365.25)) if days >= 366 else days / 365.25


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _body_part(dataset: "Dataset") -> str:
    """In words; where there are none, the code that takes their place in DX and in enhanced files (PS3.3 10.5)."""
    if text := _text(dataset, "BodyPartExamined"):
        return text
    codes = (functional_group(dataset, 0, "FrameAnatomySequence") or dataset).get("AnatomicRegionSequence")
    return _text(codes[0], "CodeMeaning") if codes else ""


def _view(dataset: "Dataset") -> str | None:
    view = _text(dataset, "ViewPosition").upper()
    if not view:
        codes = dataset.get("ViewCodeSequence") or []
        view = _text(codes[0], "CodeMeaning").upper() if codes else ""
    return _VIEWS.get(view, view) or None


def _place(dataset: "Dataset", frame: int) -> FramePlace:
    position, orientation = (
        numbers(functional_group(dataset, frame, group) or dataset, keyword)
        for group, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
        )
    )
    return FramePlace(position if len(position) == 3 else None, orientation if len(orientation) == 6 else None)
