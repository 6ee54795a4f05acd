"""Collections in other layouts than the plain one are dealt out too, and every hospital gets plain label files."""

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fedthorax.common.config.data import CtSource
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.simulations.partition import PartitionPlan, partition
from fedthorax.simulations.partition_input import LabelFile

from ..dicom import write_ct, write_dicom
from .pictures import picture


def place(folder: Path, *names: str) -> None:
    for name in names:
        picture(folder / name, name)


def rows(out: Path) -> dict[str, dict[str, str]]:
    """All rows of all hospitals, by file."""
    found = {}
    for labels in sorted(out.glob("*/xray/labels.csv")):
        with labels.open(newline="") as file:
            for row in csv.DictReader(file):
                assert (labels.parent / row["file"]).is_file()
                found[row["file"]] = row
    return found


def test_chexpert_paths_and_uncertain_labels(tmp_path: Path) -> None:
    names = [f"train/patient0000{n}/study1/view1_frontal.jpg" for n in (1, 2, 3)]
    place(tmp_path / "chexpert", *names)
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Cardiomegaly,Support Devices"]
    for name, labels in zip(names, (",1.0,-1.0,", ",0.0,1.0,1.0", "1.0,,,"), strict=True):
        lines.append(f"CheXpert-v1.0/{name},Female,68,Frontal,AP,{labels}")
    (tmp_path / "chexpert/train.csv").write_text("\n".join(lines) + "\n")
    plan = PartitionPlan(
        tmp_path / "out", xray=tmp_path / "chexpert", xray_labels=tmp_path / "chexpert/train.csv", hospitals=3
    )
    summary = partition(plan)
    found = rows(tmp_path / "out")
    assert summary.num_images == 3
    assert {row["patient_id"] for row in found.values()} == {"patient00001", "patient00002", "patient00003"}
    first = found[f"images/{names[0]}"]
    assert (first["Edema"], first["Cardiomegaly"]) == ("1", "")  # uncertain is unknown
    assert (first["sex"], first["age"], first["view"]) == ("F", "68", "AP")
    third = found[f"images/{names[2]}"]
    assert (third["Edema"], third["Cardiomegaly"]) == ("0", "0")  # no finding
    assert not {"No Finding", "Support Devices", "Path"} & set(first)


def test_padchest_lists_are_columns_and_words_about_the_report_are_no_findings(tmp_path: Path) -> None:
    place(tmp_path / "pad", "0/a.png", "0/b.png", "1/c.png")
    (tmp_path / "pad/PADCHEST_chest_x_ray_images_labels.csv").write_text(
        "ImageID,PatientID,PatientSex_DICOM,Projection,Labels\n"
        "a.png,p1,M,PA,\"['cardiomegaly', 'nodule']\"\n"
        "b.png,p1,M,PA,['normal']\n"
        "c.png,p2,F,PA,\"['unchanged', 'nodule']\"\n"
    )
    partition(PartitionPlan(tmp_path / "out", xray=tmp_path / "pad", hospitals=2))
    found = rows(tmp_path / "out")
    assert [found["images/0/a.png"][name] for name in ("cardiomegaly", "nodule", "patient_id")] == ["1", "1", "p1"]
    assert [found["images/0/b.png"][name] for name in ("cardiomegaly", "nodule")] == ["0", "0"]
    assert [found["images/1/c.png"][name] for name in ("cardiomegaly", "nodule")] == ["", "1"]
    assert "unchanged" not in found["images/1/c.png"]


def test_mimic_needs_its_second_table(tmp_path: Path) -> None:
    place(tmp_path / "mimic", "files/p10/p1001/s5/aa.jpg", "files/p10/p1002/s6/bb.jpg")
    labels, images = tmp_path / "mimic/mimic-cxr-2.0.0-chexpert.csv", tmp_path / "mimic/metadata.csv"
    labels.write_text("subject_id,study_id,Edema,No Finding\n1001,5,1.0,\n1002,6,,1.0\n")
    images.write_text("dicom_id,subject_id,study_id,ViewPosition\naa,1001,5,PA\nbb,1002,6,AP\n")
    with pytest.raises(
        ValueError, match=r"name the file with one row an image under xray\.further_tables .*--further FILE"
    ):
        partition(PartitionPlan(tmp_path / "out", xray=tmp_path / "mimic", hospitals=2))
    how = LabelFile(further=(images,))
    partition(PartitionPlan(tmp_path / "out", xray=tmp_path / "mimic", label_file=how, hospitals=2))
    found = rows(tmp_path / "out")
    assert [(row["patient_id"], row["Edema"], row["view"]) for _, row in sorted(found.items())] == [
        ("1001", "1", "PA"),
        ("1002", "0", "AP"),
    ]


def test_a_hospitals_own_columns_are_named_by_a_mapping(tmp_path: Path) -> None:
    place(tmp_path / "own", "a.png", "b.png")
    (tmp_path / "own/labels.csv").write_text("Bild;Fall;Befund\na.png;7;Erguss\nb.png;8;\n", encoding="utf-8-sig")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("file: Bild\npatient: Fall\nlabels: Befund\nnames: {Erguss: Effusion}\nempty: absent\n")
    how = LabelFile("plain", mapping)
    partition(PartitionPlan(tmp_path / "out", xray=tmp_path / "own", label_file=how, hospitals=2))
    found = rows(tmp_path / "out")
    assert [(row["patient_id"], row["Effusion"]) for _, row in sorted(found.items())] == [("7", "1"), ("8", "0")]
    assert "Erguss" not in found["images/a.png"]


def test_ids_that_a_spreadsheet_changed_are_named(tmp_path: Path) -> None:
    place(tmp_path / "own", "a.png", "b.png", "c.png")
    (tmp_path / "own/labels.csv").write_text("file,patient_id,Mass\na.png,00123,1\nb.png,123.0,0\nc.png,4,0\n")
    notes = partition(PartitionPlan(tmp_path / "out", xray=tmp_path / "own", hospitals=2)).notes
    assert "00123 = 123.0: one id or several? Written alike, such people stay at one hospital" in notes


def test_ct_is_read_as_a_run_reads_it(tmp_path: Path) -> None:
    """A table of classes, DICOM series by patient, and a volume of several slices that goes as one file."""
    air = np.full((4, 4), -800)
    for series, patient in (("1.2.3", "p"), ("1.2.4", "q")):
        for height in (0, 5):
            path = tmp_path / f"ct/{series}/{height}.dcm"
            write_ct(path, air, height, SeriesInstanceUID=series, PatientID=patient)
    write_ct(tmp_path / "ct/1.2.3/scout.dcm", air, PatientID="p", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    nibabel.Nifti1Image(np.full((4, 4, 3), -800, np.int16), np.eye(4)).to_filename(tmp_path / "ct/volume.nii.gz")
    (tmp_path / "ct.csv").write_text("folder,class,patient_id\n1.2.3,benign,\n1.2.4,malignant,\n.,benign,r\n")
    plan = PartitionPlan(tmp_path / "out", ct=tmp_path / "ct", ct_labels=tmp_path / "ct.csv", hospitals=3)
    summary = partition(plan)
    assert summary.num_images == 5
    held = {}
    for site in summary.sites:
        source = CtSource(folder=tmp_path / "out" / site / "ct")
        for record in ct_records(source, ("benign", "malignant")).records:
            held.setdefault((record.patient, record.cancer_class), []).append(site)
    assert {key: len(sites) for key, sites in held.items()} == {("p", 0): 2, ("q", 1): 2, ("r", 0): 3}
    assert all(len(set(sites)) == 1 for sites in held.values())
    assert any("scout" in note for note in summary.notes)


def test_a_file_of_several_pictures_is_no_x_ray_and_one_bad_slice_leaves_out_its_file(tmp_path: Path) -> None:
    place(tmp_path / "xray", "a.png")
    for name, frames in (("b.dcm", 2), ("c.dcm", 1)):
        write_dicom(tmp_path / "xray" / name, np.full((frames, 4, 4), 500, np.uint16), PatientID=name)
    (tmp_path / "xray/labels.csv").write_text("file,Mass\na.png,1\nb.dcm,1\nc.dcm,0\n")
    (tmp_path / "ct/n").mkdir(parents=True)
    for name, frames in (("whole.nii", 3), ("cut.nii", 2)):
        nibabel.Nifti1Image(np.full((4, 4, frames), -800, np.int16), np.eye(4)).to_filename(tmp_path / f"ct/n/{name}")
    cut = tmp_path / "ct/n/cut.nii"
    cut.write_bytes(cut.read_bytes()[:-8])
    summary = partition(PartitionPlan(tmp_path / "out", xray=tmp_path / "xray", ct=tmp_path / "ct", hospitals=["one"]))
    assert (summary.sites["one"].xrays, summary.sites["one"].ct_slices) == (2, 1)
    told = [note for note in summary.notes if note.startswith("left out")]
    assert told[0] == "left out: 1 file of the X-rays: holds 2 pictures, expected one (b.dcm)"
    assert "cut.nii" in told[1]


OWN_TABLE = "Bild;Diagnose;Fall;Gerät;Seite\na.png;gesund;7;X;valid\nb.png;Adeno-Ca;8;Y;\nc.png;unklar;9;X;\n"


def test_a_ct_table_in_another_vocabulary_is_dealt_out_in_the_names_that_are_meant(tmp_path: Path) -> None:
    place(tmp_path / "ct", "a.png", "b.png", "c.png")
    (tmp_path / "ct.csv").write_text(OWN_TABLE, encoding="windows-1252")
    (tmp_path / "own.yaml").write_text(
        "file: Bild\nlabel: Diagnose\npatient: Fall\nscanner: [Gerät]\nsplit: Seite\nencoding: windows-1252\n"
        "classes: {gesund: normal, Adeno-Ca: adenocarcinoma, unklar: null}\n",
        encoding="utf-8",
    )
    plan = PartitionPlan(
        tmp_path / "out",
        ct=tmp_path / "ct",
        ct_labels=tmp_path / "ct.csv",
        ct_mapping=tmp_path / "own.yaml",
        hospitals=3,
    )
    partition(plan)
    found = {}
    for site in ("north", "south", "east"):
        for record in ct_records(CtSource(folder=tmp_path / "out" / site / "ct"), ("adenocarcinoma", "normal")).records:
            found[record.path.name] = (record.patient, record.cancer_class, record.split, record.attributes.scanner)
    assert found == {"a.png": ("7", 1, "valid", "X"), "b.png": ("8", 0, None, "Y"), "c.png": ("9", -1, None, "X")}


def test_class_folders_are_renamed_in_the_table_that_every_hospital_gets(tmp_path: Path) -> None:
    place(tmp_path / "ct", "gesund/a__1.png", "krank/b__1.png")
    (tmp_path / "own.yaml").write_text("classes: {gesund: normal, krank: tumour}\n")
    plan = PartitionPlan(tmp_path / "out", ct=tmp_path / "ct", ct_mapping=tmp_path / "own.yaml", hospitals=2)
    assert partition(plan).sites["north"].cancer_classes.keys() == {"normal", "tumour"}
    for site in ("north", "south"):
        (record,) = ct_records(CtSource(folder=tmp_path / "out" / site / "ct"), ("normal", "tumour")).records
        assert (record.path.parent.name, record.cancer_class) in {("gesund", 0), ("krank", 1)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colum: a", "own.yaml: colum: unknown key"),
        ("label: Art", r"ct\.mapping\.label names the column 'Art'.*here ct\.mapping and ct\.classes are --ct-mapping"),
    ],
)
def test_a_mapping_of_a_ct_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, words: str) -> None:
    place(tmp_path / "ct", "a.png")
    (tmp_path / "ct/slices.csv").write_text("file,class\na.png,normal\n")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        partition(PartitionPlan(tmp_path / "out", ct=tmp_path / "ct", ct_mapping=tmp_path / "own.yaml"))
