"""Whose image it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CtSource, SourceConfig, SplitFractions, XraySource
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.patients import headers, patient_in_path
from fedthorax.common.records.records import Attributes, XrayRecord
from fedthorax.common.records.xray_folder import xray_records

Write = Callable[..., Path]
Draw = Callable[..., Path]


@pytest.fixture
def header_file() -> Callable[..., Path]:
    """Writes a DICOM file that is all header."""

    def write(path: Path, **elements: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = Dataset()
        dataset.update({"Modality": "DX", **elements})
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


def test_a_pattern_is_searched_anywhere_in_the_path() -> None:
    pattern = r"(?P<patient>patient\d+)"
    assert patient_in_path("train/patient00001/study1/view1.jpg", pattern) == "patient00001"
    assert patient_in_path("train/study1/view1.jpg", pattern) is None
    assert patient_in_path("x.png", r"(?P<patient>\d*)") is None


def test_only_files_that_can_hold_a_header_are_opened(tmp_path: Path, header_file: Callable[..., Path]) -> None:
    real = header_file(tmp_path / "a.dcm", PatientID="P7")
    disguised = header_file(tmp_path / "b.png", PatientID="P8")
    (tmp_path / "c.dcm").write_bytes(b"text")
    found = headers([real, disguised, tmp_path / "c.dcm", tmp_path / "gone.dcm", real])
    assert {path.name: header.patient_id for path, header in found.items()} == {"a.dcm": "P7"}
    assert headers([]) == {}


def test_nobody_is_said_to_be_unknown_where_all_are_known() -> None:
    records = tuple(XrayRecord(Path(name), name, (1.0,)) for name in ("a.png", "b.png", "c.png"))
    assert FolderRecords(records).notes == ()
    assert FolderRecords(records, own_patients=("a.png",)).notes == (
        "no patient is known for 1 of 3 X-rays (a.png): each counts as a patient, so X-rays of one person may stand in "
        "different splits",
    )


def test_the_patient_comes_from_the_table_then_the_header_then_the_path(
    tmp_path: Path, table: Write, draw: Draw, header_file: Callable[..., Path]
) -> None:
    header_file(tmp_path / "n1/a.dcm", PatientID="H1", PatientSex="F", PatientAge="061Y", ViewPosition="AP")
    header_file(tmp_path / "n2/b.dcm", PatientID="H2", Manufacturer="Acme", ManufacturerModelName="X1")
    header_file(tmp_path / "n3/c.dcm")
    draw(tmp_path / "n4/d.png")
    draw(tmp_path / "e.png")
    table("file,patient_id,sex,Mass", "n1/a.dcm,T1,M,1", "n2/b.dcm,,,1", "n3/c.dcm,,,0", "n4/d.png,,,0", "e.png,,,0")
    found = xray_records(XraySource(folder=tmp_path, patient_pattern=r"(?P<patient>n\d)/"), ["Mass"])
    assert [(r.path.name, r.patient, r.attributes) for r in found.records] == [
        ("e.png", "X-ray e.png", Attributes()),
        ("a.dcm", "T1", Attributes("M", 61.0, "AP")),
        ("b.dcm", "H2", Attributes(scanner="Acme X1")),
        ("c.dcm", "n3", Attributes()),
        ("d.png", "n4", Attributes()),
    ]
    assert found.notes[0].startswith("no patient is known for 1 of 5 X-rays (e.png): each counts as a patient")


def test_a_ct_slice_asks_the_same_places_and_meets_its_patients_x_rays(
    tmp_path: Path, table: Write, draw: Draw
) -> None:
    for name in ("normal/p1/1.png", "normal/p2/1.png", "tumour/1.png"):
        draw(tmp_path / name)
    table("file,patient_id,sex,age,scanner", "normal/p2/1.png,q2,F,44,Acme", name="slices.csv")
    source = CtSource(folder=tmp_path, patient_pattern=r"normal/(?P<patient>[^/]+)/")
    found = ct_records(source, ["normal", "tumour"])
    assert [(r.patient, r.attributes) for r in found.records] == [
        ("p1", Attributes()),
        ("q2", Attributes("F", 44.0, None, "Acme")),
        ("CT tumour/1.png", Attributes()),
    ]
    assert found.notes[0].startswith("no patient is known for 1 of 3 CT slices (tumour/1.png)")


def test_chexperts_paths_tell_the_patient_wherever_the_collection_lies(
    tmp_path: Path, table: Write, draw: Draw
) -> None:
    for number in (1, 2):
        draw(tmp_path / f"renamed/train/patient0000{number}/study1/view1_frontal.png")
    labels = table(
        "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema",
        *(f"CheXpert-v1.0-small/train/patient0000{n}/study1/view1_frontal.png,Male,50,Frontal,PA,1.0" for n in (1, 2)),
        name="train.csv",
    )
    found = xray_records(XraySource(folder=tmp_path / "renamed", labels=labels), ["Edema"])
    assert [(r.patient, r.attributes.view) for r in found.records] == [("patient00001", "PA"), ("patient00002", "PA")]
    assert found.bad == ()
    assert found.notes == ()


def test_mimics_images_are_found_by_their_name_without_ending(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "files/p10/p100/s50/ab-1.jpg")
    table("subject_id,study_id,Edema", "100,50,1.0", name="mimic-cxr-2.0.0-chexpert.csv")
    images = table("dicom_id,subject_id,study_id", "ab-1,100,50", name="metadata.csv")
    found = xray_records(XraySource(folder=tmp_path, further_tables=(images,)), ["Edema"])
    assert [(r.path.name, r.patient, r.findings) for r in found.records] == [("ab-1.jpg", "100", (1.0,))]
    assert found.notes == ()


def test_a_patients_x_ray_and_ct_meet_where_the_ids_are_the_same(
    tmp_path: Path, table: Write, draw: Draw, one_hospital: Callable[..., Experiment]
) -> None:
    draw(tmp_path / "xray/a.png", seed=1)
    draw(tmp_path / "ct/normal/p7/1.png", seed=2)
    draw(tmp_path / "ct/tumour/p8/1.png", seed=3)
    table("file,patient_id,Mass,split", "a.png,p7,1,test", name="xray/labels.csv")
    source = SourceConfig(
        xray=tmp_path / "xray", ct=CtSource(folder=tmp_path / "ct", patient_pattern=r"/(?P<patient>p\d)/")
    )
    labels = LabelsConfig(findings=("Mass",), cancer_classes=("normal", "tumour"))
    all_trained = SplitFractions(train=1, valid=0, test=0)
    site = load_hospital(one_hospital(source, labels, splits=all_trained), "north")
    assert site.splits["test"].ct.patients == site.splits["test"].xray.patients == ("p7",)
    assert site.splits["train"].ct.patients == ("p8",)
