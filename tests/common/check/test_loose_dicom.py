"""DICOM files without class folders: whose they are, which belong together, which are no axial chest slices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid

from fedthorax.common.check.check import SiteCheck

from ...dicom import write_ct

Check = Callable[..., SiteCheck]


def write(path: Path, height: float, patient: str, series: str, **elements: Any) -> None:
    """A CT slice of its own grey noise."""
    noise = np.random.default_rng(len(path.name) + int(height)).integers(-900, 300, (16, 16))
    write_ct(path, noise, height, **{"PatientID": patient, "SeriesInstanceUID": series, "PatientSex": "F"} | elements)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three patients: p1 with two slices of one series, a scout view and a coronal one; p2; p3 with an abdomen only."""
    write(tmp_path / "b.dcm", 0.0, "p1", "1.1")
    write(tmp_path / "a.dcm", 5.0, "p1", "1.1")
    write(tmp_path / "scout.dcm", 1.0, "p1", "1.2", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write(tmp_path / "coronal.dcm", 2.0, "p1", "1.3", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    write(tmp_path / "p2.dcm", 3.0, "p2", "2.1")
    write(tmp_path / "belly.dcm", 4.0, "p3", "3.1", SeriesDescription="ABDOMEN 5 MM")
    return tmp_path


def test_slices_are_put_into_series_and_patients(folder: Path, check: Check) -> None:
    checked = check(folder)
    held = checked.counts["ct"]
    assert (held["images"], held["patients"], held["attributes"]["sex"]) == (3, 2, {"F": 3})
    names = [image.name for image in checked.holdings.images]
    assert names == ["b.dcm", "a.dcm", "p2.dcm"]  # from the feet to the head
    (told,) = [issue.sentence for issue in checked.issues if "series of" in issue.sentence]
    assert told == (
        "6 files in 5 series of 3 patients, of which the axial chest slices are 3 slices in 2 series of 2 patients"
    )


def test_what_is_no_axial_chest_slice_is_left_out_with_its_reason(folder: Path, check: Check) -> None:
    (left,) = [issue for issue in check(folder).issues if "left out" in issue.sentence]
    assert set(left.files) == {"scout.dcm", "coronal.dcm", "belly.dcm"}
    assert left.level == "note"
    for reason in (
        "is a scout view (localizer), not a CT slice (1)",
        "is a coronal slice, expected an axial one (1)",
        "shows no chest: the series is called ABDOMEN 5 MM (1)",
    ):
        assert reason in left.sentence


def test_radiographs_of_one_patient_are_of_one_patient(tmp_path: Path, check: Check) -> None:
    for name in ("one", "two"):
        write(
            tmp_path / f"{name}.dcm", 0.0, "p1", "1.1", Modality="DX", SOPClassUID=uid.ComputedRadiographyImageStorage
        )
    held = check(tmp_path).counts["xray"]
    assert (held["images"], held["patients"]) == (2, 1)


@pytest.mark.real_data
def test_the_real_series_are_ten_patients(real_data: Path, check: Check) -> None:
    checked = check(real_data / "dicom/ct_chest_nysbu")
    assert checked.counts["ct"]["images"] == 17
    (told,) = [issue.sentence for issue in checked.issues if "series of" in issue.sentence]
    assert told.startswith("24 files in 24 series of 10 patients")
