"""Partition: every image lands once, no patient in two places, the rules do what they say."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fedthorax.simulations import partition_output
from fedthorax.simulations.partition import PartitionPlan, PartitionSummary, partition
from fedthorax.simulations.phantom import phantom_arguments, write_phantom
from fedthorax.simulations.site_limits import SiteLimits
from fedthorax.simulations.site_plot import FILE_NAME

from .pictures import picture, words_of


def make_xray(folder: Path, rows: list[tuple[str, str, str, str]], extra: str = "") -> Path:
    """Rows are (patient, Mass, Edema, view); image number n holds its own number, so that a copy can be told."""
    (folder / "images").mkdir(parents=True)
    lines = ["file,patient_id,view,Mass,Edema"]
    for number, (patient, mass, edema, view) in enumerate(rows):
        picture(folder / f"images/{number:03d}.png", f"x-ray {number}")
        lines.append(f"images/{number:03d}.png,{patient},{view},{mass},{edema}")
    (folder / "labels.csv").write_text("\n".join(lines) + extra + "\n")
    return folder


def make_ct(folder: Path, counts: dict[str, int], patients: dict[str, str] | None = None) -> Path:
    for cancer, number in counts.items():
        (folder / cancer).mkdir(parents=True)
        for index in range(number):
            picture(folder / cancer / f"{index:06d} ({index}).png", f"{folder.name} {cancer} {index}")
    if patients is not None:
        lines = ["file,patient_id", *(f"{file},{patient}" for file, patient in patients.items())]
        (folder / "slices.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    """60 images of 30 patients; a fifth has a mass, a tenth oedema."""
    rows = [(f"p{n // 2:02d}", str(int(n // 2 % 5 == 0)), str(int(n // 2 % 10 == 3)), "PA") for n in range(60)]
    return make_xray(tmp_path / "xray", rows)


def images(out: Path) -> dict[str, str]:
    found = sorted(path for path in out.rglob("*.png") if path.name != FILE_NAME)
    return {path.relative_to(out).as_posix(): words_of(path) for path in found}


def labels(out: Path, site: str) -> list[dict[str, str]]:
    with (out / site / "xray/labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def patients_at(out: Path) -> dict[str, set[str]]:
    sites = [path.name for path in out.iterdir() if path.is_dir()]
    return {site: {row["patient_id"] for row in labels(out, site)} for site in sites}


def test_every_image_lands_exactly_once_and_unchanged(tmp_path: Path, xray: Path) -> None:
    ct = make_ct(tmp_path / "ct", {"normal": 10, "adenocarcinoma": 7})
    out = tmp_path / "out"
    summary = partition(PartitionPlan(out, xray=xray, ct=ct, holdout_valid=0.1, holdout_test=0.2))
    given = [words_of(p) for folder in (xray, ct) for p in folder.rglob("*.png")]
    assert sorted(images(out).values()) == sorted(given)
    assert summary.num_images == 77 == sum(c.xrays + c.ct_slices for c in summary.sites.values())


def test_no_patient_is_in_two_places(tmp_path: Path, xray: Path) -> None:
    out = tmp_path / "out"
    partition(PartitionPlan(out, xray=xray, holdout_valid=0.2, holdout_test=0.2))
    counts = Counter(patient for found in patients_at(out).values() for patient in found)
    assert set(counts.values()) == {1}
    assert len(counts) == 30
    split_of: dict[str, set[str]] = {}
    for row in labels(out, "central"):
        split_of.setdefault(row["patient_id"], set()).add(row["split"])
    assert sorted(Counter(s for found in split_of.values() for s in found).items()) == [("test", 6), ("valid", 6)]
    assert all(len(found) == 1 for found in split_of.values())


def test_equal_parts_are_alike_in_every_class_and_finding(tmp_path: Path, xray: Path) -> None:
    ct = make_ct(tmp_path / "ct", {"a": 9, "b": 30})
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, ct=ct))
    for counts in summary.sites.values():
        assert counts.xray_patients == 10
        assert counts.cancer_classes == {"a": 3, "b": 10}
        assert counts.findings["Mass"].present == 4
        assert counts.findings["Edema"].present == 2


def test_sizes_are_ratios_of_patients(tmp_path: Path, xray: Path) -> None:
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, hospitals=["a", "b"], sizes=[2, 1]))
    assert {name: counts.xray_patients for name, counts in summary.sites.items()} == {"a": 20, "b": 10}


def skew(summary: PartitionSummary) -> float:
    """Mean over classes of the largest share that one hospital has of the class."""
    classes = {name for counts in summary.sites.values() for name in counts.cancer_classes}
    by_class = [[counts.cancer_classes[name] for counts in summary.sites.values()] for name in classes]
    return sum(max(numbers) / sum(numbers) for numbers in by_class) / len(by_class)


def test_a_small_alpha_skews_the_labels_and_a_large_one_does_not(tmp_path: Path) -> None:
    ct = make_ct(tmp_path / "ct", dict.fromkeys("abcd", 60))
    strong = partition(PartitionPlan(tmp_path / "strong", ct=ct, alpha=0.1))
    weak = partition(PartitionPlan(tmp_path / "weak", ct=ct, alpha=1000.0))
    assert skew(strong) > 0.7
    assert skew(weak) < 0.45
    assert all(counts.ct_slices > 0 for counts in strong.sites.values())
    assert sum(counts.ct_slices for counts in strong.sites.values()) == 240


def test_an_alpha_that_always_leaves_a_hospital_empty_is_refused(tmp_path: Path) -> None:
    ct = make_ct(tmp_path / "ct", {"a": 40})
    with pytest.raises(ValueError, match="use a larger alpha or fewer hospitals"):
        partition(PartitionPlan(tmp_path / "out", ct=ct, hospitals=8, alpha=0.001))
    assert not (tmp_path / "out").exists()


def test_a_column_names_the_hospitals(tmp_path: Path) -> None:
    xray = make_xray(tmp_path / "xray", [("1", "0", "0", "AP"), ("2", "1", "0", "PA"), ("2", "1", "0", "PA")])
    ct = make_ct(tmp_path / "ct", {"a": 4})
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, ct=ct, column="view"))
    assert {name: (c.xrays, c.ct_slices) for name, c in summary.sites.items()} == {"AP": (1, 2), "PA": (2, 2)}


@pytest.mark.parametrize(
    ("rows", "plan", "message"),
    [
        ([("1", "0", "0", "AP"), ("1", "0", "0", "PA")], {}, "column view puts 1 in more than one hospital"),
        ([("1", "0", "0", ""), ("2", "0", "0", "PA")], {}, "column view is empty for 1; every X-ray needs a hospital"),
        ([("1", "0", "0", "AP")], {"hospitals": ["x"]}, "column view has the values AP, but the hospitals are x"),
        ([("1", "0", "0", "AP")], {"hospitals": 2}, r"column view has 1 values .* but hospitals is 2"),
        ([("1", "0", "0", "AP")], {"column": "ward"}, "the X-ray labels have no column 'ward'; they have file, "),
        ([("1", "0", "0", "a/b")], {}, "hospital name 'a/b'"),
    ],
)
def test_a_column_that_does_not_make_hospitals_is_refused(
    tmp_path: Path, rows: list[tuple[str, str, str, str]], plan: dict, message: str
) -> None:
    xray = make_xray(tmp_path / "xray", rows)
    with pytest.raises(ValueError, match=message):
        partition(PartitionPlan(tmp_path / "out", **{"xray": xray, "column": "view"} | plan))
    assert not (tmp_path / "out").exists()


def test_a_patients_slices_follow_its_x_rays(tmp_path: Path, xray: Path) -> None:
    owners = {f"a/{n:06d} ({n}).png": f"p{n:02d}" for n in range(30)}
    ct = make_ct(tmp_path / "ct", {"a": 31}, owners)
    out = tmp_path / "out"
    summary = partition(PartitionPlan(out, xray=xray, ct=ct, holdout_test=0.2))
    assert summary.sites["central/test"].patients_with_both == 6
    for site in ("north", "south", "east", "central"):
        with (out / site / "ct/slices.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["patient_id"] for row in rows} == {row["patient_id"] for row in labels(out, site)}
        assert all((out / site / "ct" / row["file"]).is_file() for row in rows)
    assert any("no patient is known for 1 of 31 CT slices" in note for note in summary.notes)


def test_central_ct_comes_from_the_given_folders(tmp_path: Path) -> None:
    train = make_ct(tmp_path / "data/train", {"a": 6})
    valid = make_ct(tmp_path / "data/valid", {"a": 2, "b": 1})
    test = make_ct(tmp_path / "data/test", {"b": 3})
    out = tmp_path / "out"
    summary = partition(PartitionPlan(out, ct=train, ct_valid=valid, ct_test=test))
    assert words_of(out / "central/ct/valid/b/000000 (0).png") == "valid b 0"
    assert summary.sites["central/valid"].cancer_classes == {"a": 2, "b": 1}
    assert summary.sites["central/test"].cancer_classes == {"a": 0, "b": 3}
    assert "north has no CT slice of b" in summary.notes
    assert not (out / "north/xray").exists()


def test_a_patient_of_the_central_ct_folders_goes_to_the_server_with_its_x_rays(tmp_path: Path, xray: Path) -> None:
    train = make_ct(tmp_path / "train", {"a": 6}, {"a/000003 (3).png": "p07"})
    test = make_ct(tmp_path / "test", {"a": 1}, {"a/000000 (0).png": "p07"})
    out = tmp_path / "out"
    partition(PartitionPlan(out, xray=xray, ct=train, ct_test=test, hospitals=2, link="symlink"))
    assert {row["patient_id"] for row in labels(out, "central")} == {"p07"}
    assert words_of(out / "central/ct/test/a/000003 (3).png") == "train a 3"
    assert words_of(out / "central/ct/test/a/000000 (0).png") == "test a 0"


def test_ct_splits_given_by_folders_are_kept(tmp_path: Path) -> None:
    for split in ("train", "test"):
        make_ct(tmp_path / "ct" / split, {"a": 2})
    partition(PartitionPlan(tmp_path / "out", ct=tmp_path / "ct", hospitals=["only"]))
    assert sorted(images(tmp_path / "out")) == [
        "only/ct/test/a/000000 (0).png",
        "only/ct/test/a/000001 (1).png",
        "only/ct/train/a/000000 (0).png",
        "only/ct/train/a/000001 (1).png",
    ]


def test_nih_labels_become_the_plain_form_with_known_absence(tmp_path: Path) -> None:
    folder = tmp_path / "nih"
    (folder / "images_001").mkdir(parents=True)
    for name in ("1_0.png", "2_0.png"):
        picture(folder / "images_001" / name, name)
    (folder / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],\n"
        "1_0.png,Mass|Hernia,0,1,60,M,PA,2500,2048,\n"
        "2_0.png,No Finding,0,2,30,F,AP,2500,2048,\n"
        "3_0.png,Mass,0,3,30,F,AP,2500,2048,\n"
    )
    summary = partition(PartitionPlan(tmp_path / "out", xray=folder, hospitals=["one"]))
    first, second = labels(tmp_path / "out", "one")
    assert list(first)[:5] == ["file", "patient_id", "age", "sex", "view"]
    assert (first["file"], first["patient_id"], first["age"], first["sex"]) == (
        "images/images_001/1_0.png",
        "1",
        "60",
        "M",
    )
    assert [name for name in list(first)[5:] if first[name] == "1"] == ["Hernia", "Mass"]
    assert len(first) == 5 + 14
    assert set(list(second.values())[5:]) == {"0"}
    words = "left out: 1 row of the X-rays: stands in Data_Entry_2017.csv, line 4, but does not exist (3_0.png)"
    assert words in summary.notes


def test_extra_columns_and_unknown_labels_travel_along(tmp_path: Path) -> None:
    xray = make_xray(tmp_path / "xray", [("1", "", "1.0", "PA")])
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, hospitals=["one"]))
    assert labels(tmp_path / "out", "one") == [
        {"file": "images/000.png", "patient_id": "1", "view": "PA", "Mass": "", "Edema": "1"}
    ]
    assert summary.sites["one"].findings["Edema"].present == 1


def test_rows_without_a_patient_id_are_patients_of_their_own(tmp_path: Path) -> None:
    xray = make_xray(tmp_path / "xray", [("", "0", "1", "PA")] * 6)
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray))
    assert [counts.xrays for counts in summary.sites.values()] == [2, 2, 2]
    assert labels(tmp_path / "out", "north")[0]["patient_id"] == ""


def test_images_without_a_row_and_files_that_are_no_images_are_said(tmp_path: Path) -> None:
    xray = make_xray(tmp_path / "xray", [("1", "0", "1", "PA")])
    (xray / "images/stray.png").write_text("?")
    ct = make_ct(tmp_path / "ct", {"a": 3})
    (ct / "a/Thumbs.db").write_text("?")
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, ct=ct, hospitals=["one"]))
    assert any(note.startswith("1 image has no row in labels.csv and is not used") for note in summary.notes)
    assert any(
        note.startswith("in the CT folder but no PNG, JPEG, DICOM or NIfTI, and so not used") for note in summary.notes
    )


def test_what_a_run_could_not_read_is_dealt_to_nobody_and_named(tmp_path: Path) -> None:
    xray = make_xray(tmp_path / "xray", [(str(number), "0", "1", "PA") for number in range(5)])
    (xray / "images/001.png").write_bytes(b"")
    (xray / "images/003.png").write_bytes((xray / "images/003.png").read_bytes()[:-20])
    ct = make_ct(tmp_path / "ct", {"a": 3, "b": 2})
    (ct / "a/000001 (1).png").write_text("Dear colleague")
    valid = make_ct(tmp_path / "valid", {"a": 1, "b": 1})
    (valid / "b/000000 (0).png").unlink()
    (valid / "b/000000 (0).png").symlink_to(tmp_path / "nowhere")
    plan = PartitionPlan(tmp_path / "out", xray=xray, ct=ct, ct_valid=valid, hospitals=["one"])
    summary = partition(plan)
    assert [note for note in summary.notes if "left out" in note] == [
        "left out: 2 files of the X-rays: is empty (0 bytes); is truncated: it begins like a PNG file but cannot be "
        "decoded to its end (images/001.png, images/003.png)",
        "left out: 1 file of the CT slices: is not an image that can be read: it begins neither like a PNG, JPEG or "
        "DICOM nor like a NIfTI file (a/000001 (1).png)",
        "valid: left out: 1 file of the CT slices: is a link to a file that does not exist (b/000000 (0).png)",
    ]
    assert {Path(name).name for name in images(tmp_path / "out") if "/xray/" in name} == {
        "000.png",
        "002.png",
        "004.png",
    }
    assert [row["file"] for row in labels(tmp_path / "out", "one")] == [
        f"images/00{number}.png" for number in (0, 2, 4)
    ]
    assert (summary.num_images, summary.sites["one"].ct_slices, summary.sites["central/valid"].ct_slices) == (8, 4, 1)
    assert any(note.startswith("no patient is known for 4 of 4 CT slices") for note in summary.notes)


def test_a_folder_of_which_nothing_can_be_read_is_refused_with_why(tmp_path: Path) -> None:
    xray = make_xray(tmp_path / "xray", [("1", "0", "1", "PA")])
    (xray / "images/000.png").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"holds none of the images .*; left out: 1 file of the X-rays: is empty"
    ):
        partition(PartitionPlan(tmp_path / "out", xray=xray))
    ct = make_ct(tmp_path / "ct", {"a": 1})
    (ct / "a/000000 (0).png").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"no image in a class folder; .*; left out: 1 file of the CT slices: is"
    ):
        partition(PartitionPlan(tmp_path / "out", ct=ct))
    assert not (tmp_path / "out").exists()


def test_the_same_seed_splits_alike_and_another_one_does_not(tmp_path: Path, xray: Path) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        partition(PartitionPlan(tmp_path / f"out{number}", xray=xray, seed=seed, holdout_test=0.3))
        found.append(patients_at(tmp_path / f"out{number}"))
    assert found[0] == found[1] != found[2]


def test_the_split_does_not_depend_on_the_order_of_the_rows(tmp_path: Path, xray: Path) -> None:
    partition(PartitionPlan(tmp_path / "out0", xray=xray))
    header, *rows = (xray / "labels.csv").read_text().splitlines()
    (xray / "labels.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    partition(PartitionPlan(tmp_path / "out1", xray=xray))
    assert labels(tmp_path / "out0", "south") == labels(tmp_path / "out1", "south")


def test_the_split_does_not_depend_on_the_names_of_the_files(tmp_path: Path) -> None:
    rows = [(f"p{n:02d}", str(n % 2), "0", "PA") for n in range(20)]
    for number, ordered in enumerate((rows, rows[::-1])):
        xray = make_xray(tmp_path / f"xray{number}", ordered)
        partition(PartitionPlan(tmp_path / f"out{number}", xray=xray))
    assert patients_at(tmp_path / "out0") == patients_at(tmp_path / "out1")


def test_links_instead_of_copies(tmp_path: Path, xray: Path) -> None:
    partition(PartitionPlan(tmp_path / "hard", xray=xray, hospitals=["one"], link="hardlink"))
    partition(PartitionPlan(tmp_path / "soft", xray=xray, hospitals=["one"], link="symlink"))
    source = xray / "images/000.png"
    assert (tmp_path / "hard/one/xray/images/000.png").samefile(source)
    soft = tmp_path / "soft/one/xray/images/000.png"
    assert soft.is_symlink()
    assert words_of(soft) == "x-ray 0"


def test_a_hard_link_across_devices_becomes_a_copy(tmp_path: Path, xray: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(partition_output.os, "link", refuse)
    partition(PartitionPlan(tmp_path / "out", xray=xray, hospitals=["one"], link="hardlink"))
    copy = tmp_path / "out/one/xray/images/000.png"
    assert words_of(copy) == "x-ray 0"
    assert not copy.samefile(xray / "images/000.png")


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path: Path, xray: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty; name a new folder"):
        partition(PartitionPlan(tmp_path / "out", xray=xray))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_named_as_it_was_asked_for(
    tmp_path: Path, xray: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if "partial" in path.name:
            raise PermissionError(13, "Permission denied", str(path))
        make(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError) as caught:
        partition(PartitionPlan(tmp_path / "out", xray=xray))
    assert caught.value.filename == str(tmp_path / "out")


def test_an_interrupted_partition_leaves_nothing_behind(tmp_path: Path, xray: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total // 2 and (tmp_path / "deep").exists():  # it writes
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        partition(PartitionPlan(tmp_path / "deep/out", xray=xray), progress=interrupt)
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"xray": None}, "there is nothing to split"),
        ({"alpha": 0.5, "sizes": [1, 2]}, "sizes and alpha are rules of their own; leave one out"),
        ({"alpha": 0.0}, "alpha must be above 0, got 0"),
        ({"sizes": [1, 0]}, r"sizes must be ratios above 0, one a hospital, got \[1, 0\]"),
        ({"sizes": [1, 2], "hospitals": 3}, "sizes has 2 ratios, but there are 3 hospitals"),
        ({"holdout_valid": 0.5, "holdout_test": 0.5}, "sum to less than 1, got 0.5 and 0.5"),
        ({"hospitals": ["a", "a"]}, "hospital names must be distinct, but these are repeated: a"),
        ({"hospitals": ["central"]}, "no hospital may be called 'central'"),
    ],
)
def test_impossible_plans_are_refused(tmp_path: Path, xray: Path, plan: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(PartitionPlan(tmp_path / "out", **{"xray": xray} | plan))
    assert not (tmp_path / "out").exists()


def test_a_column_rule_without_x_rays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a column needs an X-ray folder"):
        PartitionPlan(tmp_path / "out", ct=tmp_path, column="view")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,id\na,1\n", "expected a column 'file' .*, found name, id; say which .*here xray.mapping is --map"),
        ("file,patient_id,file\na,1,a\n", "repeats the column file; each may stand once"),
        ("file,patient_id\nimages/000.png,1,2\n", "line 2: expected 2 cells as in the header, found 3"),
        ("file,patient_id,Mass\n./images/000.png,1,0\nimages/000.png,1,0\n", "images/000.png in lines 2, 3"),
    ],
)
def test_label_files_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    xray = make_xray(tmp_path / "xray", [("1", "0", "1", "PA")])
    (xray / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        partition(PartitionPlan(tmp_path / "out", xray=xray))


def test_missing_folders_and_files_are_named(tmp_path: Path, xray: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"CT folder .*nowhere is not there"):
        partition(PartitionPlan(tmp_path / "out", ct=tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"holds 60 images but none of labels.csv, .* \(here .*--labels FILE"):
        partition(PartitionPlan(tmp_path / "out", xray=xray / "images"))
    (tmp_path / "empty/normal").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no image in a class folder"):
        partition(PartitionPlan(tmp_path / "out", ct=tmp_path / "empty"))


def test_a_phantom_hospital_can_be_split_again(tmp_path: Path) -> None:
    write_phantom(tmp_path / "phantom", phantom_arguments(1, patients=12, image_size=32, central=True))
    north, central = tmp_path / "phantom/north", tmp_path / "phantom/central/ct"
    plan = PartitionPlan(
        tmp_path / "out",
        xray=north / "xray",
        ct=north / "ct",
        hospitals=2,
        ct_valid=central / "valid",
        ct_test=central / "test",
    )
    summary = partition(plan)
    assert summary.sites["north"].patients + summary.sites["south"].patients == 12
    assert summary.sites["north"].patients_with_both == summary.sites["south"].patients_with_both == 3
    with (tmp_path / "out/central/ct/slices.csv").open(newline="") as file:
        assert all((tmp_path / "out/central/ct" / row["file"]).is_file() for row in csv.DictReader(file))


def test_folders_inside_each_other_are_refused(tmp_path: Path, xray: Path) -> None:
    for split in ("train", "valid"):
        make_ct(tmp_path / "ct" / split, {"a": 3})
    with pytest.raises(ValueError, match="its images would land twice"):
        partition(PartitionPlan(tmp_path / "out", ct=tmp_path / "ct", ct_valid=tmp_path / "ct/valid"))
    with pytest.raises(ValueError, match="lies inside the input folder"):
        partition(PartitionPlan(xray / "out", xray=xray))


def test_a_patient_in_both_central_ct_folders_is_refused(tmp_path: Path) -> None:
    folders = [make_ct(tmp_path / name, {"a": 1}, {"a/000000 (0).png": "p1"}) for name in ("v", "t")]
    with pytest.raises(ValueError, match="patient p1 is in both ct_valid and ct_test"):
        partition(
            PartitionPlan(
                tmp_path / "out", ct=make_ct(tmp_path / "ct", {"a": 3}), ct_valid=folders[0], ct_test=folders[1]
            )
        )


def write_list(path: Path, numbers: list[int]) -> Path:
    path.write_text("".join(f"{number:03d}.png\n" for number in numbers))
    return path


def test_a_public_split_is_kept_the_test_is_the_servers(tmp_path: Path, xray: Path) -> None:
    training = write_list(tmp_path / "train_val_list.txt", list(range(40)))
    testing = write_list(tmp_path / "test_list.txt", [*range(50, 60), 777])
    out = tmp_path / "out"
    plan = PartitionPlan(out, xray=xray, train_list=training, test_list=testing, holdout_valid=0.2)
    summary = partition(plan)
    test_rows = [row["file"] for row in labels(out, "central") if row["split"] == "test"]
    assert sorted(test_rows) == [f"images/{number:03d}.png" for number in range(50, 60)]
    at_hospitals = {row["file"] for name in summary.sites if "/" not in name for row in labels(out, name)}
    valid_rows = {row["file"] for row in labels(out, "central") if row["split"] == "valid"}
    assert len(valid_rows) == 8
    assert at_hospitals | valid_rows == {f"images/{number:03d}.png" for number in range(40)}
    assert "10 X-rays stand in neither list, and so not used" in summary.notes
    assert f"1 of the 11 names in {testing} is no X-ray of the folder" in summary.notes


def test_without_a_training_list_the_rest_goes_to_hospitals(tmp_path: Path, xray: Path) -> None:
    testing = write_list(tmp_path / "test_list.txt", [0, 1])
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, test_list=testing))
    assert summary.num_images == 60
    assert summary.sites["central/test"].xrays == 2


def test_a_patient_on_both_sides_of_a_list_is_refused(tmp_path: Path, xray: Path) -> None:
    testing = write_list(tmp_path / "test_list.txt", [0])
    with pytest.raises(ValueError, match=r"only a part of the X-rays of patient p00; all of a patient's belong to one"):
        partition(PartitionPlan(tmp_path / "out", xray=xray, test_list=testing))
    assert not (tmp_path / "out").exists()


def test_an_image_in_both_lists_is_refused(tmp_path: Path, xray: Path) -> None:
    lists = [write_list(tmp_path / name, [0, 1]) for name in ("train.txt", "test.txt")]
    with pytest.raises(ValueError, match=r"both name 000.png, 001.png; an image belongs to one"):
        partition(PartitionPlan(tmp_path / "out", xray=xray, train_list=lists[0], test_list=lists[1]))


def test_a_hospital_without_ct_gets_none_and_the_others_get_it_all(tmp_path: Path, xray: Path) -> None:
    ct = make_ct(tmp_path / "ct", {"normal": 12, "tumour": 12})
    out = tmp_path / "out"
    limits = SiteLimits({"north": ("ct",), "south": ("xray",)})
    summary = partition(PartitionPlan(out, xray=xray, ct=ct, limits=limits))
    counts = {name: (site.xrays, site.ct_slices) for name, site in summary.sites.items()}
    assert counts == {"north": (30, 0), "south": (0, 12), "east": (30, 12)}
    assert sorted(path.name for path in (out / "north").iterdir()) == ["xray"]
    assert sorted(path.name for path in (out / "south").iterdir()) == ["ct"]


def test_skewed_labels_heed_what_a_hospital_lacks(tmp_path: Path, xray: Path) -> None:
    ct = make_ct(tmp_path / "ct", {"normal": 30, "tumour": 30})
    limits = SiteLimits({"north": ("ct",)})
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, ct=ct, alpha=0.5, limits=limits))
    assert summary.sites["north"].ct_slices == 0
    assert sum(site.ct_slices for site in summary.sites.values()) == 60
    assert summary.sites["north"].xrays > 0


def test_a_patient_with_both_needs_a_hospital_with_both(tmp_path: Path, xray: Path) -> None:
    ct = make_ct(tmp_path / "ct", {"normal": 2}, {"normal/000000 (0).png": "p00"})
    limits = SiteLimits({"north": ("ct",), "south": ("xray",)})
    with pytest.raises(ValueError, match=r"patient p00 has X-rays and CT slices, but without leaves no hospital"):
        partition(PartitionPlan(tmp_path / "out", xray=xray, ct=ct, hospitals=("north", "south"), limits=limits))


def test_what_a_hospital_does_not_annotate_is_unknown_there(tmp_path: Path, xray: Path) -> None:
    out = tmp_path / "out"
    limits = SiteLimits(annotates={"south": ("Edema",)})
    summary = partition(PartitionPlan(out, xray=xray, holdout_test=0.2, limits=limits))
    assert {row["Mass"] for row in labels(out, "south")} == {""}
    assert {row["Edema"] for row in labels(out, "south")} == {"0", "1"}
    assert {row["Mass"] for name in ("north", "central") for row in labels(out, name)} == {"0", "1"}
    assert summary.sites["south"].findings["Mass"].unknown == summary.sites["south"].xrays


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (SiteLimits({"west": ("ct",)}), "without names west, but the hospitals are north, south, east"),
        (SiteLimits({"north": ("mri",)}), "without north: expected xray or ct, got mri"),
        (SiteLimits({"north": ("ct", "xray")}), "a hospital needs X-rays or CT slices"),
        (SiteLimits(annotates={"north": ("Hernia",)}), "the labels have no finding Hernia; they have Mass, Edema"),
        (SiteLimits(dict.fromkeys(("north", "south", "east"), ("ct",))), "no hospital is left that has ct"),
    ],
)
def test_limits_that_cannot_be_are_refused(tmp_path: Path, xray: Path, limits: SiteLimits, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        partition(PartitionPlan(tmp_path / "out", xray=xray, limits=limits))


def test_sizes_are_drawn_and_nobody_stays_empty(tmp_path: Path, xray: Path) -> None:
    sizes = []
    for alpha in (0.3, 100.0):
        plan = PartitionPlan(tmp_path / f"out{alpha}", xray=xray, size_alpha=alpha, hospitals=4)
        sizes.append(sorted(site.patients for site in partition(plan).sites.values()))
    assert [sum(found) for found in sizes] == [30, 30]
    assert min(map(min, sizes)) >= 1
    assert sizes[0][-1] - sizes[0][0] > sizes[1][-1] - sizes[1][0]


def test_a_patient_with_several_values_goes_where_most_images_are(tmp_path: Path) -> None:
    rows = [("a", "0", "0", "PA"), ("a", "1", "0", "PA"), ("a", "0", "1", "AP"), ("b", "0", "0", "AP")]
    folder = make_xray(tmp_path / "xray", rows)
    with pytest.raises(ValueError, match=r"puts a in more than one hospital.*--column-most"):
        partition(PartitionPlan(tmp_path / "out", xray=folder, column="view"))
    summary = partition(PartitionPlan(tmp_path / "out", xray=folder, column="view", column_most=True))
    assert {name: site.xrays for name, site in summary.sites.items()} == {"AP": 1, "PA": 3}


def test_a_picture_shows_what_every_site_got_and_is_the_same_each_time(tmp_path: Path, xray: Path) -> None:
    pictures = []
    for name in ("one", "two"):
        partition(PartitionPlan(tmp_path / name, xray=xray, ct=None, holdout_test=0.2))
        pictures.append((tmp_path / name / FILE_NAME).read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")


def test_ct_patients_are_held_out_too_where_no_central_ct_is_given(tmp_path: Path, xray: Path) -> None:
    owners = {f"a/{n:06d} ({n}).png": f"c{n // 2:02d}" for n in range(40)}
    ct = make_ct(tmp_path / "ct", {"a": 40}, owners)
    summary = partition(PartitionPlan(tmp_path / "out", xray=xray, ct=ct, holdout_valid=0.1, holdout_test=0.2))
    held = {name: (summary.sites[name].xray_patients, summary.sites[name].ct_patients) for name in summary.sites}
    assert (held["central/valid"], held["central/test"]) == ((3, 2), (6, 4))
    alone = partition(PartitionPlan(tmp_path / "alone", ct=ct, holdout_test=0.5))
    assert alone.sites["central/test"].ct_patients == 10
