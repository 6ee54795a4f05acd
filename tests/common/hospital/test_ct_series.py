"""The axial chest slices of a CT folder, in the order in which they lie in the body; the rest named with its reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid

from fedthorax.common.config.data import CtSlices, CtSource
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.common.hospital.ct_series import FoundSlices, find_slices
from fedthorax.common.records.listing import list_images
from fedthorax.common.records.records import ImageRef

Write = Callable[..., Path]
AIR = np.full((2, 2), -1000)


def found(folder: Path, **policy: Any) -> FoundSlices:
    return find_slices(list_images(folder).images, CtSlices(**policy))


def names(slices: FoundSlices) -> list[str]:
    return [slice_.name for slice_ in slices.slices]


def test_slices_are_ordered_from_the_feet_to_the_head_and_not_by_name(tmp_path: Path, write_ct: Write) -> None:
    for name, height in (("a", 30.0), ("b", -10.0), ("c", 12.5)):
        write_ct(tmp_path / f"{name}.dcm", AIR, height, InstanceNumber=1)
    slices = found(tmp_path)
    assert names(slices) == ["b.dcm", "c.dcm", "a.dcm"]
    assert [slice_.height for slice_ in slices.slices] == [-10, 12.5, 30]


def test_the_order_is_that_along_the_normal_also_where_the_normal_runs_down(tmp_path: Path, write_ct: Write) -> None:
    tilted = [1, 0, 0, 0, 0.94, -0.34]
    for name, back, height in (("a", 0, 0.0), ("b", 40, 5.0), ("c", 0, 10.0)):
        # Along the normal (0, 0.34, 0.94) the second slice lies highest.
        write_ct(tmp_path / f"{name}.dcm", AIR, ImageOrientationPatient=tilted, ImagePositionPatient=[0, back, height])
    assert names(found(tmp_path)) == ["a.dcm", "c.dcm", "b.dcm"]
    for name, height in (("a", 0.0), ("b", 5.0)):
        write_ct(tmp_path / f"down/{name}.dcm", AIR, height, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    assert names(found(tmp_path / "down")) == ["a.dcm", "b.dcm"]


def test_without_a_place_the_number_of_the_instance_orders(tmp_path: Path, write_ct: Write) -> None:
    for name, number in (("a", 3), ("b", 1), ("c", 2), ("d", None)):
        write_ct(tmp_path / f"{name}.dcm", AIR, ImagePositionPatient=None, InstanceNumber=number)
    assert names(found(tmp_path)) == ["b.dcm", "c.dcm", "a.dcm", "d.dcm"]


def test_each_series_in_each_folder_is_a_series_of_its_own(tmp_path: Path, write_ct: Write) -> None:
    for folder, series, height in (("p1", "1.1", 5.0), ("p1", "1.1", 0.0), ("p1", "1.2", 1.0), ("p2", "1.1", 9.0)):
        write_ct(tmp_path / folder / f"{series}-{height}.dcm", AIR, height, SeriesInstanceUID=series)
    assert names(found(tmp_path)) == ["p1/1.1-0.0.dcm", "p1/1.1-5.0.dcm", "p1/1.2-1.0.dcm", "p2/1.1-9.0.dcm"]
    assert names(found(tmp_path, every=2)) == ["p1/1.1-0.0.dcm", "p1/1.2-1.0.dcm", "p2/1.1-9.0.dcm"]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a scout view (localizer), not a CT slice"),
        ({"SeriesDescription": "Topogram 0.6 T20s"}, "is a scout view (localizer), not a CT slice"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "is a coronal slice, expected an axial one"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "is a sagittal slice, expected an axial one"),
        ({"SeriesDescription": "Lung MIP 10mm"}, "is a projection of many slices, not a CT slice"),
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, "is a picture of a screen, not a CT slice"),
        ({"Modality": "MR"}, "has the modality MR, expected CT"),
        ({"BodyPartExamined": "HEAD"}, "shows no chest: the body part is called HEAD"),
        ({"SeriesDescription": "ABD/PEL 2.5 MM", "StudyDescription": "CT CHEST ABD"}, "the series is called ABD/PEL"),
        ({"ProtocolName": "3.1 C-SPINE"}, "shows no chest: the protocol is called 3.1 C-SPINE"),
        ({"StudyDescription": "CT KNEE LEFT"}, "shows no chest: the study is called CT KNEE LEFT"),
    ],
)
def test_what_is_no_axial_chest_slice_is_left_out_with_its_reason(
    tmp_path: Path, write_ct: Write, elements: dict[str, Any], reason: str
) -> None:
    write_ct(tmp_path / "a.dcm", AIR, 1.0)
    path = write_ct(tmp_path / "b.dcm", AIR, 2.0, **elements)
    slices = found(tmp_path)
    assert names(slices) == ["a.dcm"]
    assert [left.path for left in slices.left_out] == [path]
    assert reason in slices.left_out[0].reason
    assert not slices.bad


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"BodyPartExamined": "CHEST_TO_PELVIS"},
        {"SeriesDescription": "CHEST 2.5 MM/ABD.PEL 2.5MM", "BodyPartExamined": "ABDOMEN"},
        {"ProtocolName": "5.2 CHEST/ABD/PEL (FEET FIRST)", "StudyDescription": "CT ABD AND PELVIS"},
        {"ProtocolName": "Routine (Head First)"},
        {"StudyDescription": "Thoraxübersicht"},
        {"ImageOrientationPatient": None},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]},
    ],
)
def test_a_slice_that_may_be_of_a_chest_is_kept(tmp_path: Path, write_ct: Write, elements: dict[str, Any]) -> None:
    write_ct(tmp_path / "a.dcm", AIR, SpecificCharacterSet="ISO_IR 192", **elements)
    assert names(found(tmp_path)) == ["a.dcm"]


def test_a_report_among_the_slices_is_left_out(tmp_path: Path, write_ct: Write) -> None:
    path = write_ct(tmp_path / "a.dcm", AIR, Modality="SR", Rows=None, Columns=None)
    assert [(left.path, left.reason) for left in found(tmp_path).left_out] == [(path, "holds no picture (modality SR)")]


def test_a_slice_of_which_the_header_alone_came_over_is_kept_for_decoding_to_name(
    tmp_path: Path, write_ct: Write
) -> None:
    write_ct(tmp_path / "a.dcm", AIR)
    write_ct(tmp_path / "raw.dcm", AIR, SOPClassUID="1.2.840.10008.5.1.4.1.1.66", Rows=None, Columns=None)
    whole = (tmp_path / "a.dcm").read_bytes()
    lengths = [150, *range(300, whole.index(b"\x28\x00\x10\x00"), 50)]
    for length in lengths:
        (tmp_path / f"b{length}.dcm").write_bytes(whole[:length])
    left = found(tmp_path)
    assert set(names(left)) == {"a.dcm", *(f"b{length}.dcm" for length in lengths)}
    assert [(one.path.name, one.reason) for one in left.left_out] == [("raw.dcm", "holds no picture (modality CT)")]


@pytest.mark.parametrize(
    ("policy", "heights"),
    [
        ({}, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ({"every": 3}, [0, 30, 60, 90]),
        ({"between": (0.2, 0.5)}, [20, 30, 40, 50]),
        ({"between_mm": (15, 45)}, [20, 30, 40]),
        ({"between": (0.5, 1), "every": 2}, [50, 70, 90]),
        ({"min_lung_share": 0.05}, [30, 40, 50]),
        ({"min_lung_share": 0.05, "every": 2}, [30, 50]),
        ({"most": 11}, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ({"most": 3}, [10, 50, 90]),
        ({"most": 1}, [50]),
        ({"min_lung_share": 0.05, "most": 2}, [30, 50]),
    ],
)
@pytest.mark.parametrize("volume", [False, True])
def test_a_policy_chooses_slices_of_each_series(
    tmp_path: Path, write_ct: Write, write_nifti: Write, policy: dict[str, Any], heights: list[int], volume: bool
) -> None:
    rows, columns = np.ogrid[-32:32, -32:32]
    radius = np.hypot(rows, columns)
    chest = {30, 40, 50}
    slices = [
        np.where((radius < 10) & (height in chest), -800, np.where(radius < 25, 40, -1000)).astype(np.int16)
        for height in range(0, 101, 10)
    ]
    if volume:
        affine = np.diag([1.0, 1.0, 10.0, 1.0])
        write_nifti(tmp_path / "a.nii.gz", np.stack(slices, axis=-1), affine)
    else:
        for number, units in enumerate(slices):
            write_ct(tmp_path / f"{number}.dcm", units, number * 10.0)
    chosen = found(tmp_path, **policy)
    assert [slice_.height for slice_ in chosen.slices] == heights
    assert chosen.dropped == 11 - len(heights)
    if volume:
        assert [slice_.image for slice_ in chosen.slices] == [
            ImageRef(tmp_path / "a.nii.gz", height // 10) for height in heights
        ]


def test_files_by_themselves_are_always_used(tmp_path: Path, draw: Write) -> None:
    for number in range(3):
        draw(tmp_path / f"{number}.png")
    assert len(found(tmp_path, every=3, between=(0.4, 0.6), min_lung_share=0.5).slices) == 3


def test_a_file_that_cannot_be_read_stays_in_so_that_decoding_names_it(tmp_path: Path, write_nifti: Write) -> None:
    (tmp_path / "a.dcm").write_bytes(b"nonsense")
    slices = found(tmp_path, min_lung_share=0.1)
    assert names(slices) == ["a.dcm"]
    volume = write_nifti(tmp_path / "b.nii.gz", np.zeros((2, 2, 2, 2), np.int16))
    assert [(bad.path, bad.fault) for bad in found(tmp_path).bad] == [(volume, "unsupported")]


def test_a_class_folder_of_series_and_volumes_becomes_records(
    tmp_path: Path, write_ct: Write, write_nifti: Write, draw: Write
) -> None:
    for number in (0, 1, 2):
        write_ct(tmp_path / f"train/tumour/case 1/{number}", AIR, 10.0 - number, PatientID="P1")
    for number in (0, 1):
        write_ct(tmp_path / f"train/tumour/case 2/{number}", AIR, float(number))  # no patient: the series is one
    write_ct(tmp_path / "train/tumour/case 2/scout", AIR, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_nifti(tmp_path / "test/normal/v.nii.gz", np.full((2, 2, 2), -500, np.int16))
    draw(tmp_path / "test/normal/p9__1.png")
    read = ct_records(CtSource(folder=tmp_path), ["normal", "tumour"], CtSlices())
    assert [(r.path.name, r.frame, r.patient, r.cancer_class, r.split) for r in read.records] == [
        ("p9__1.png", None, "p9", 0, "test"),
        ("v.nii.gz", 0, "CT test/normal/v.nii.gz", 0, "test"),
        ("v.nii.gz", 1, "CT test/normal/v.nii.gz", 0, "test"),
        ("2", None, "P1", 1, "train"),
        ("1", None, "P1", 1, "train"),
        ("0", None, "P1", 1, "train"),
        ("0", None, "CT 1.2.3", 1, "train"),
        ("1", None, "CT 1.2.3", 1, "train"),
    ]
    assert [left.path.name for left in read.left_out] == ["scout"]
    assert any(
        "1 picture is no chest radiograph or axial chest slice and is not used: scout is a scout" in n
        for n in read.notes
    )
