"""X-ray folders as records."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.config.data import XraySource
from fedthorax.common.config.label_mapping import LabelMapping
from fedthorax.common.records.xray_folder import xray_records

Write = Callable[..., Path]
Draw = Callable[..., Path]


def test_records_are_sorted_by_path_and_carry_patient_and_findings(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "images/a.png")
    draw(tmp_path / "images/b.png")
    table("file,patient_id,Mass", "images/b.png,p2,0", "images/a.png,p1,1")
    found = xray_records(XraySource(folder=tmp_path), ["Mass"])
    assert [(r.path, r.patient, r.findings) for r in found.records] == [
        (tmp_path / "images/a.png", "p1", (1.0,)),
        (tmp_path / "images/b.png", "p2", (0.0,)),
    ]
    assert found.bad == ()
    assert found.notes == ()


def test_paths_may_be_relative_to_the_label_file(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "images/a.png")
    labels = table("file,patient_id,Mass", "images/a.png,p,1")
    found = xray_records(XraySource(folder=tmp_path / "images", labels=labels), ["Mass"])
    assert [r.path for r in found.records] == [tmp_path / "images/a.png"]
    assert found.notes == ()


def test_a_path_that_fits_twice_is_taken_from_the_x_ray_folder(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "a.png")
    labels = table("file,patient_id,Mass", "a.tif,p,1")
    for folder in (tmp_path, tmp_path / "images"):
        folder.mkdir(exist_ok=True)
        (folder / "a.tif").touch()
    found = xray_records(XraySource(folder=tmp_path / "images", labels=labels), ["Mass"])
    assert [r.path for r in found.records] == [tmp_path / "images/a.tif"]


def test_nih_images_are_found_in_any_depth(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "images_001/images/a.png")
    draw(tmp_path / "images_002/images/b.png")
    table("Image Index,Finding Labels,Patient ID", "a.png,Mass,1", "b.png,No Finding,2", name="Data_Entry_2017.csv")
    found = xray_records(XraySource(folder=tmp_path), ["Mass"])
    assert [r.path.parts[-3] for r in found.records] == ["images_001", "images_002"]


def test_an_nih_image_in_two_places_is_refused_with_both(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "x/a.png")
    draw(tmp_path / "y/a.png")
    table("Image Index,Finding Labels,Patient ID", "a.png,Mass,1")
    with pytest.raises(ValueError, match=r"a\.png lies in several places \(x/a\.png, y/a\.png\)"):
        xray_records(XraySource(folder=tmp_path), ["Mass"])


def test_missing_images_rows_without_images_and_other_files_are_all_named(
    tmp_path: Path, table: Write, draw: Draw
) -> None:
    for name in ("a.png", "extra.png"):
        draw(tmp_path / name)
    (tmp_path / "readme.txt").touch()
    table("file,patient_id,Mass", "a.png,p1,1", "gone.png,p2,1")
    found = xray_records(XraySource(folder=tmp_path), ["Mass"])
    assert [r.path.name for r in found.records] == ["a.png"]
    assert [(b.path.name, b.reason) for b in found.bad] == [
        ("gone.png", "stands in labels.csv, line 3, but does not exist")
    ]
    assert found.notes == (
        "1 image has no row in labels.csv and is not used: extra.png",
        "in the X-ray folder but no PNG, JPEG, DICOM or NIfTI, and so not used: readme.txt",
    )


def test_an_image_without_a_patient_is_its_own_patient(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "a.png")
    table("file,Mass", "a.png,1")
    assert xray_records(XraySource(folder=tmp_path), ["Mass"]).records[0].patient == "X-ray a.png"


def test_one_image_under_two_names_is_refused(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "images/a.png")
    labels = table("file,patient_id,Mass", "a.png,p,1", "images/a.png,p,1")
    with pytest.raises(ValueError, match=r"1 row repeats an image .* a\.png in lines 2, 3 \(alike\)"):
        xray_records(XraySource(folder=tmp_path / "images", labels=labels), ["Mass"])


def test_several_label_files_have_to_be_chosen_from(tmp_path: Path, table: Write) -> None:
    table("file,Mass")
    table("Image Index,Finding Labels", name="Data_Entry.csv")
    with pytest.raises(ValueError, match=r"several label files \(Data_Entry\.csv, labels\.csv\); name one under"):
        xray_records(XraySource(folder=tmp_path), ["Mass"])


def test_images_without_a_label_file_are_refused_and_an_empty_folder_is_said(tmp_path: Path, draw: Draw) -> None:
    assert xray_records(XraySource(folder=tmp_path), ["Mass"]).notes == (
        "the X-ray folder holds no X-rays and no label file",
    )
    draw(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"holds 1 image but none of labels\.csv, .* under xray\.labels$"):
        xray_records(XraySource(folder=tmp_path), ["Mass"])
    for name in ("train.csv", "valid.csv"):
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=r"under xray\.labels \(the folder holds train\.csv, valid\.csv\)$"):
        xray_records(XraySource(folder=tmp_path), ["Mass"])


def test_a_label_file_without_rows_is_said(tmp_path: Path, table: Write) -> None:
    table("file,patient_id,Mass")
    assert xray_records(XraySource(folder=tmp_path), ["Mass"]).notes == ("labels.csv labels no X-ray",)


def test_all_repeated_rows_are_told_with_their_lines_and_whether_they_agree(
    tmp_path: Path, table: Write, draw: Draw
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / name)
    table(
        "file,patient_id,Mass",
        "a.png,p,1",
        "b.png,q,",
        "c.png,r,0",
        "./a.png,p,1",
        "b.png,q,",
        "c.png,r,1",
        "a.png,p,1",
    )
    with pytest.raises(ValueError, match=r"4 rows repeat an image .* 1 of the 3 repeated images in conflict") as caught:
        xray_records(XraySource(folder=tmp_path), ["Mass"])
    words = str(caught.value)
    assert "c.png in lines 4, 7 (in conflict); a.png in lines 2, 5, 8 (alike); b.png in lines 3, 6 (alike)." in words


@pytest.mark.parametrize(
    ("file", "cell", "reason"),
    [
        ("images/a.png", "a.png", "in another folder than labels.csv says: set xray.mapping.match to name"),
        ("a.png", "images/a.png", "in another folder than labels.csv says: set xray.mapping.match to name"),
        ("a.png", "a.PNG", "with another ending than labels.csv says: set xray.mapping.match to stem"),
        ("a.png", "a", "with another ending than labels.csv says: set xray.mapping.match to stem"),
        ("deep/a.jpg", "a.dcm", "with another ending than labels.csv says: set xray.mapping.match to stem"),
        ("a.nii.gz", "x/a.dcm", "with another ending than labels.csv says: set xray.mapping.match to stem"),
        ("A.png", "a.png", "but labels.csv writes it with other capitals: write it there as the file is called"),
        *[
            (
                file,
                cell,
                "but labels.csv writes it with other blanks, marks, zeros or endings: write it as the file is called",
            )
            for file, cell in [
                ("a b.png", "a%20b.png"),
                ("a_b.png", "a b.png"),
                ("0007.png", "7.png"),
                ("7.png", "7.0"),
                ("a.png", "a."),
                ("a.png", "'a.png'"),
                ("a.png", "a.png.png"),
                ("a .png", "a.png"),
                ("a\u2013b.png", "a-b.png"),
            ]
        ],
    ],
)
def test_names_that_nearly_match_are_told_with_what_mends_them(
    tmp_path: Path, table: Write, draw: Draw, file: str, cell: str, reason: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (draw if file.endswith("g") else Path.touch)(tmp_path / file)
    table("file,patient_id,Mass", f"{cell},p,1", "gone.png,q,1")
    source = XraySource(folder=tmp_path)
    told, gone = xray_records(source, ["Mass"]).bad
    assert told.reason == f"the file is there, {reason}"
    assert gone.reason == "stands in labels.csv, line 3, but does not exist"
    if "xray.mapping.match" in reason:
        mended = source.model_copy(update={"mapping": LabelMapping(match=reason.rpartition(" ")[2])})  # type: ignore[arg-type]
        assert [record.path for record in xray_records(mended, ["Mass"]).records] == [tmp_path / file]


def test_rows_of_files_that_are_nowhere_are_one_reason_with_their_lines(
    tmp_path: Path, table: Write, draw: Draw
) -> None:
    draw(tmp_path / "other.png")
    table("file,patient_id,Mass", *(f"x{n}x.png,p,1" for n in range(7)))
    reasons = {bad.reason for bad in xray_records(XraySource(folder=tmp_path), ["Mass"]).bad}
    assert reasons == {"stands in labels.csv, lines 2, 3, 4, 5, 6 and 2 more, but does not exist"}


@pytest.mark.parametrize("cell", ["/data/north/a.png", "C:\\north\\a.png", "..\\north\\a.png", "\\\\pacs\\x\\a.png"])
def test_of_a_path_from_another_machine_the_name_is_enough_where_that_is_said(
    tmp_path: Path, table: Write, draw: Draw, cell: str
) -> None:
    draw(tmp_path / "images/a.png")
    table("file,patient_id,Mass", f"{cell},,1")
    with pytest.raises(ValueError, match=r"expected a path inside .*name is enough, set mapping\.match to name"):
        xray_records(XraySource(folder=tmp_path), ["Mass"])
    (record,) = xray_records(XraySource(folder=tmp_path, mapping=LabelMapping(match="name")), ["Mass"]).records
    assert (record.path, record.patient) == (tmp_path / "images/a.png", "X-ray a.png")


def test_a_name_that_two_files_bear_has_to_be_told_apart(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "x/a.png")
    draw(tmp_path / "y/a.png")
    table("file,patient_id,Mass", "a.png,p,1")
    (told,) = xray_records(XraySource(folder=tmp_path), ["Mass"]).bad
    assert told.reason.endswith("in another folder than labels.csv says: write each with the folder that it lies in")
