"""What a DICOM file says of the patient, the device and the place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from fedthorax.common.records.dicom_header import FramePlace, begins_like_dicom, read_header
from fedthorax.common.records.records import Attributes

Write = Callable[..., Path]
PIXELS = np.zeros((2, 3), np.uint8)


def test_patient_attributes_and_place_come_out_of_the_header(tmp_path: Path, write_dicom: Write) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        PIXELS,
        PatientID=" P1 ",
        PatientSex="F",
        PatientAge="063Y",
        ViewPosition="PA",
        Manufacturer="Maker",
        ManufacturerModelName="Model 9",
        BodyPartExamined="CHEST",
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )
    header = read_header(path)
    assert header is not None
    assert (header.modality, header.patient_id, header.body_part) == ("CR", "P1", "CHEST")
    assert header.attributes == Attributes("F", 63.0, "PA", "Maker Model 9")
    assert (header.rows, header.columns, header.bits_stored) == (2, 3, 8)
    assert header.places == (FramePlace((1, 2, 3), (1, 0, 0, 0, 1, 0)),)


def test_what_a_file_does_not_say_is_none(tmp_path: Path, write_dicom: Write) -> None:
    header = read_header(write_dicom(tmp_path / "a.dcm", PIXELS, PatientID="", PatientSex="O", Modality=None))
    assert header is not None
    assert header.attributes == Attributes()
    assert (header.modality, header.patient_id, header.slice_location, header.instance_number) == (None,) * 4
    assert header.places == (FramePlace(None, None),)


@pytest.mark.parametrize(
    ("elements", "years"),
    [
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "003W"}, pytest.approx(21 / 365.25)),
        ({"PatientAge": "62"}, 62.0),  # against the standard, but seen
        ({"PatientAge": "000Y", "PatientBirthDate": "19500101", "StudyDate": "20000101"}, None),
        ({"PatientBirthDate": "19500615", "StudyDate": "20000614"}, 49.0),
        ({"PatientBirthDate": "20000601", "StudyDate": "20000701"}, pytest.approx(30 / 365.25)),
        ({"PatientBirthDate": "19500231", "StudyDate": "20000614"}, None),
        ({"PatientBirthDate": "20500101", "StudyDate": "20000614"}, None),
    ],
)
def test_the_age_is_in_years(tmp_path: Path, write_dicom: Write, elements: dict[str, Any], years: float | None) -> None:
    with pydicom.config.disable_value_validation():
        header = read_header(write_dicom(tmp_path / "a.dcm", PIXELS, **elements))
    assert header is not None
    assert header.attributes.age_years == years


def test_the_view_may_stand_in_a_code(tmp_path: Path, write_dicom: Write) -> None:
    code = pydicom.Dataset()
    code.CodeMeaning = "antero-posterior"
    header = read_header(write_dicom(tmp_path / "a.dcm", PIXELS, ViewCodeSequence=pydicom.Sequence([code])))
    assert header is not None
    assert header.attributes.view == "AP"


def test_whatever_is_not_dicom_has_no_header(tmp_path: Path, draw: Write) -> None:
    assert read_header(draw(tmp_path / "a.png")) is None
    assert read_header(tmp_path / "missing") is None
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\xff")
    read_header(tmp_path / "broken.dcm")  # whatever comes of it, no error


@pytest.mark.parametrize("head", [b"", b"\x08\x00", b"ID;Finding\n" * 20, b"\x08\x00\x05\xff" + bytes(200), bytes(300)])
def test_other_beginnings_are_not_taken_for_dicom(head: bytes) -> None:
    assert not begins_like_dicom(head)
