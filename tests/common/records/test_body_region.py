"""What a DICOM header says of an X-ray that is not of a chest, or not for people to read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from fedthorax.common.check.contact_sheet import look_at
from fedthorax.common.config.data import XraySource
from fedthorax.common.records.body_region import no_chest_radiograph
from fedthorax.common.records.dicom_header import read_header
from fedthorax.common.records.xray_folder import xray_records

Write = Callable[..., Path]
PICTURE = np.arange(64, dtype=np.uint8).reshape(8, 8)


def code(meaning: str) -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.CodeMeaning = meaning
    return pydicom.Sequence([item])


def said(tmp_path: Path, write: Write, elements: dict[str, Any]) -> str | None:
    header = read_header(write(tmp_path / "a.dcm", PICTURE, **elements))
    assert header is not None
    return no_chest_radiograph(header)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BodyPartExamined": "HAND"}, "shows no chest: the body part is called HAND"),
        ({"BodyPartExamined": "TSPINE"}, "the body part is called TSPINE"),  # PS3.16 annex L has no spaces
        ({"BodyPartExamined": "CLAVICLE"}, "the body part is called CLAVICLE"),
        ({"AnatomicRegionSequence": code("Knee")}, "the body part is called KNEE"),
        ({"StudyDescription": "XR FOOT 3 VIEWS"}, "the study is called XR FOOT 3 VIEWS"),
        ({"StudyDescription": "Röntgen Hüfte links"}, None),
        ({"StudyDescription": "Roentgen Brustwirbelsaeule"}, "the study is called Roentgen Brustwirbelsaeule"),
        ({"SeriesDescription": "Thoracic spine lateral"}, "the series is called Thoracic spine lateral"),
        ({"ProtocolName": "Becken AP"}, "the protocol is called Becken AP"),
        ({"ViewPosition": "SKYLINE"}, "the view is called SKYLINE"),
        ({"PresentationIntentType": "FOR PROCESSING", "Modality": "DX"}, "is raw data of the detector"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1", "Modality": "DX"}, "is raw data of the detector"),
        ({"Modality": "XA"}, "is a picture of fluoroscopy or angiography (modality XA), not a radiograph"),
        ({"Modality": "SR", "Rows": None, "Columns": None}, "holds no picture (modality SR)"),
    ],
)
def test_what_is_no_chest_radiograph_says_why(
    tmp_path: Path, write_dicom: Write, elements: dict[str, Any], reason: str | None
) -> None:
    found = said(tmp_path, write_dicom, {"SpecificCharacterSet": "ISO_IR 100", **elements})
    assert found is not None
    assert (reason or "shows no chest") in found


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"BodyPartExamined": "CHEST"},
        {"BodyPartExamined": "CHESTABDOMEN"},
        {"BodyPartExamined": "NECKCHEST"},
        {"BodyPartExamined": "ABDOMEN", "SeriesDescription": "Chest PA"},
        {"StudyDescription": "XR CHEST AND ABDOMEN"},
        {"StudyDescription": "Chest and thoracic spine"},
        {"StudyDescription": "Mobile C-Arm"},
        {"SeriesDescription": "PA arms up"},
        {"AnatomicRegionSequence": code("Chest")},
        {"PresentationIntentType": "FOR PRESENTATION", "Modality": "DX"},
        {"Modality": None},
        {"Modality": "SC"},
        {"Modality": "MR"},  # decoding refuses it by name
    ],
)
def test_what_may_be_a_chest_radiograph_is_kept(tmp_path: Path, write_dicom: Write, elements: dict[str, Any]) -> None:
    assert said(tmp_path, write_dicom, elements) is None


def test_a_labelled_hand_is_left_out_and_told_by_the_records_and_by_look(
    tmp_path: Path, write_dicom: Write, table: Callable[..., Path]
) -> None:
    write_dicom(tmp_path / "chest.dcm", PICTURE, PatientID="p1")
    hand = write_dicom(tmp_path / "hand.dcm", PICTURE, PatientID="p2", BodyPartExamined="HAND")
    write_dicom(tmp_path / "film.dcm", PICTURE, PatientID="p3", Modality="SC")
    table("file,Mass", "chest.dcm,1", "hand.dcm,0", "film.dcm,0")
    found = xray_records(XraySource(folder=tmp_path), ["Mass"])
    assert [record.path.name for record in found.records] == ["chest.dcm", "film.dcm"]
    assert any("1 X-ray is by its header a capture of a film or a screen" in note for note in found.notes)
    assert [(left.path, left.fault) for left in found.left_out] == [(hand, "not_used")]
    assert any("hand.dcm shows no chest: the body part is called HAND" in note for note in found.notes)
    shown = {tile.name: tile.picture for tile in look_at(tmp_path, "xray", 8, "pad", 9).tiles}
    assert shown["hand.dcm"] == "shows no chest: the body part is called HAND"
    assert isinstance(shown["chest.dcm"], np.ndarray)
