"""A hospital's folders, from disk to arrays; and what it says about them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import SourceConfig
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.disclosure.passport import passport
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.issues.unusable import UnusableDataError, outside_words
from fedthorax.common.pairing import reuse, training_pairs
from fedthorax.common.record.passport import Found, SplitCounts, UsesTold
from fedthorax.common.records.records import SPLITS, BadFile

Draw = Callable[..., Path]
LABELS = LabelsConfig(findings=("Mass", "Effusion"), cancer_classes=("normal", "tumour"))


@pytest.fixture
def source(tmp_path: Path, draw: Draw) -> SourceConfig:
    """Six X-rays of five patients and four CT slices of four, one of them in both; all splits given."""
    rows = ["file,patient_id,Mass,Effusion,split"]
    for number, (patient, mass, split) in enumerate(
        [
            ("a", "1", "train"),
            ("a", "0", "train"),
            ("b", "0", "train"),
            ("c", "", "valid"),
            ("d", "1", "test"),
            ("e", "0", "test"),
        ]
    ):
        draw(tmp_path / f"xray/{number}.png", seed=number)
        rows.append(f"{number}.png,{patient},{mass},1,{split}")
    (tmp_path / "xray/labels.csv").write_text("\n".join(rows), encoding="utf-8")
    for number, name in enumerate(
        ["train/normal/a__1.png", "train/tumour/f__1.png", "valid/normal/g__1.png", "test/tumour/h__1.png"]
    ):
        draw(tmp_path / "ct" / name, seed=100 + number)
    return SourceConfig(xray=tmp_path / "xray", ct=tmp_path / "ct")


Load = Callable[..., SiteImages]


@pytest.fixture
def load(one_hospital: Callable[..., Experiment]) -> Load:
    def read(source: SourceConfig, **data: Any) -> SiteImages:
        return load_hospital(one_hospital(source, LABELS, **data), "north")

    return read


def test_images_targets_patients_and_paths_stand_in_the_same_rows(source: SourceConfig, load: Load) -> None:
    site = load(source)
    train = site.splits["train"]
    assert train.xray.images.shape == (3, 32, 32, 3)
    assert train.xray.targets.dtype == np.float32
    np.testing.assert_array_equal(train.xray.targets, [[1, 1], [0, 1], [0, 1]])
    assert train.xray.patients == ("a", "a", "b")
    assert [path.name for path in train.xray.paths] == ["0.png", "1.png", "2.png"]
    assert train.ct.targets.dtype == np.int32
    np.testing.assert_array_equal(train.ct.targets, [0, 1])
    assert train.ct.patients == ("a", "f")
    np.testing.assert_array_equal(site.splits["valid"].xray.targets, [[math.nan, 1]])
    assert [len(site.splits[split].xray) for split in SPLITS] == [3, 1, 2]
    assert site.notes == ()


def test_a_split_without_images_is_there_and_empty(source: SourceConfig, tmp_path: Path, load: Load) -> None:
    (tmp_path / "ct/valid/normal/g__1.png").unlink()
    empty = load(source).splits["valid"].ct
    assert len(empty) == 0
    assert empty.images.shape == (0, 32, 32, 3)
    assert empty.targets.shape == (0,)
    assert empty.targets.dtype == np.int32


def test_a_hospital_without_x_rays_has_targets_of_the_right_width(tmp_path: Path, draw: Draw, load: Load) -> None:
    (tmp_path / "xray").mkdir()
    draw(tmp_path / "ct/normal/a.png")
    site = load(SourceConfig(xray=tmp_path / "xray", ct=tmp_path / "ct"))
    assert site.splits["train"].xray.targets.shape == (0, 2)
    assert len(site.splits["train"].ct) == 1
    assert site.notes[0] == "the X-ray folder holds no X-rays and no label file"


def test_progress_counts_all_files_once(source: SourceConfig, one_hospital: Callable[..., Experiment]) -> None:
    seen: list[tuple[int, int]] = []
    load_hospital(one_hospital(source, LABELS), "north", lambda done, total: seen.append((done, total)))
    assert seen == [(number, 10) for number in range(1, 11)]


def test_the_same_seed_draws_the_same_split_and_another_hospital_draws_its_own(
    tmp_path: Path, draw: Draw, one_hospital: Callable[..., Experiment]
) -> None:
    for number in range(30):
        draw(tmp_path / f"ct/normal/{number}.png", seed=number)
    (tmp_path / "xray").mkdir()
    source = SourceConfig(xray=tmp_path / "xray", ct=tmp_path / "ct")

    def test_files(name: str, seed: int) -> tuple[Path, ...]:
        return load_hospital(one_hospital(source, LABELS, name, seed), name).splits["test"].ct.paths

    assert test_files("north", 0) == test_files("north", 0)
    assert test_files("north", 0) != test_files("north", 1)
    assert test_files("north", 0) != test_files("south", 0)


def test_a_bad_file_stops_the_run_with_its_name_and_the_way_out(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "xray/4.png").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"^north: 1 file cannot be used: .*4\.png: is empty \(0 bytes\)\. Repair or remove them, or set",
    ):
        load(source)


def test_a_link_that_leads_nowhere_stops_the_run_though_no_label_names_it(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "xray/more").symlink_to(tmp_path / "disk")
    with pytest.raises(UnusableDataError, match=r"1 file .*/xray/more: is a link to a file that does not") as caught:
        load(source)
    assert caught.value.codes == ("file-broken-link",)
    assert [str(file.path.name) for file in load(source, on_bad_file="skip").skipped] == ["more"]


def test_of_many_bad_files_the_first_of_each_reason_are_named_and_all_counted(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    for number in range(6):
        (tmp_path / f"xray/{number}.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"6 files cannot be used: .*2\.png and 3 more: is not an image") as caught:
        load(source)
    assert str(caught.value).count("is not an image") == 1


def test_a_bad_file_can_be_left_out_and_is_then_counted(source: SourceConfig, tmp_path: Path, load: Load) -> None:
    (tmp_path / "xray/5.png").unlink()
    (tmp_path / "xray/1.png").write_bytes(b"")
    (tmp_path / "ct/train/tumour/f__1.png").write_bytes(b"")
    site = load(source, on_bad_file="skip")
    assert site.skipped == (
        BadFile(tmp_path / "xray/5.png", "stands in labels.csv, line 7, but does not exist"),
        BadFile(tmp_path / "xray/1.png", "is empty (0 bytes)"),
        BadFile(tmp_path / "ct/train/tumour/f__1.png", "is empty (0 bytes)"),
    )
    train = site.splits["train"]
    np.testing.assert_array_equal(train.xray.targets, [[1, 1], [0, 1]])
    assert train.xray.patients == ("a", "b")
    assert len(site.splits["test"].xray) == 1
    np.testing.assert_array_equal(train.ct.targets, [0])


def test_every_error_begins_with_the_hospital(source: SourceConfig, tmp_path: Path, load: Load) -> None:
    (tmp_path / "ct/train/tumor").mkdir()
    with pytest.raises(ValueError, match=r"^north: .*found tumor \(did you mean 'tumour'\?\)"):
        load(source)
    (tmp_path / "xray/labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"^north: .*holds 6 images but none of labels"):
        load(source)


def test_a_picture_that_stands_in_train_and_test_is_refused_unless_it_is_accepted(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "xray/4.png").write_bytes((tmp_path / "xray/0.png").read_bytes())
    with pytest.raises(
        ValueError, match=r"north: the check finds errors .*duplicate-across-splits \(1 X-ray in test: same"
    ):
        load(source)
    issues = load(source, accept=("duplicate-across-splits",)).issues
    assert [(issue.code, issue.count, issue.files) for issue in issues] == [("duplicate-across-splits", 1, ("4.png",))]


def test_a_picture_under_two_labels_is_refused_unless_it_is_accepted(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "xray/2.png").write_bytes((tmp_path / "xray/0.png").read_bytes())
    with pytest.raises(
        ValueError, match=r"duplicate-different-labels \(2 X-rays are 1 picture under different labels\)"
    ):
        load(source)
    load(source, accept=("duplicate-different-labels",))


def test_a_patient_on_two_sides_is_refused_before_anything_is_decoded_and_stays_torn_if_accepted(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    labels = tmp_path / "xray/labels.csv"
    labels.write_text(labels.read_text(encoding="utf-8").replace("1.png,a,0,1,train", "1.png,a,0,1,test"), "utf-8")
    with pytest.raises(ValueError, match=r"patient-across-splits \(1 patient stands on two sides of the split\)"):
        load(source)
    site = load(source, accept=("patient-across-splits",))
    assert site.splits["test"].xray.patients == ("a", "d", "e")
    assert passport(site).check == (Found(code="patient-across-splits", level="error", modality=None, count=1),)


def test_ids_that_may_be_one_persons_are_refused_on_two_sides_before_anything_is_decoded(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    labels = tmp_path / "xray/labels.csv"
    rows = labels.read_text(encoding="utf-8").replace("0.png,a,", "0.png,007,").replace("4.png,d,", "4.png,7.0,")
    labels.write_text(rows, encoding="utf-8")
    with pytest.raises(UnusableDataError, match=r"patient-unclear-across-splits \(1 person has ids") as caught:
        load(source)
    assert caught.value.outside == "the check finds patient-unclear-across-splits"
    assert load(source, accept=("patient-unclear-across-splits",)).issues[0].groups == (
        ("007 (1 X-ray)", "7.0 (1 X-ray)"),
    )


def test_a_kind_of_bad_file_can_be_accepted_by_its_code(source: SourceConfig, tmp_path: Path, load: Load) -> None:
    (tmp_path / "xray/1.png").write_bytes(b"")
    (tmp_path / "xray/3.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"1 file cannot be used: .*3\.png"):
        load(source, accept=("file-truncated",))
    site = load(source, accept=("file-truncated", "file-not-an-image"))
    assert [(issue.code, issue.files) for issue in site.issues] == [
        ("file-truncated", ("1.png",)),
        ("file-not-an-image", ("3.png",)),
    ]


def test_the_passport_counts_images_and_patients(source: SourceConfig, tmp_path: Path, draw: Draw, load: Load) -> None:
    draw(tmp_path / "ct/train/normal/a__2.png", seed=200)
    site = load(source)
    train = site.splits["train"]
    pairs = training_pairs(train.xray.patients, train.ct.patients, "patient_first", "longest", seed=0)
    report = reuse(pairs, 3, 3, train.xray.patients, train.ct.patients)
    found = passport(site, report)
    assert found.splits["train"] == SplitCounts(xray=3, ct=3, xray_patients=2, ct_patients=2)
    assert found.pairing is not None
    assert found.pairing.pairs == 3
    assert found.pairing.ct_uses == UsesTold(min=1, mean=1.0, max=1)
    assert found.pairing.same_patient_pairs == 2
    assert passport(site).pairing is None


def test_sex_age_and_view_are_read_where_they_are_known(source: SourceConfig, tmp_path: Path, load: Load) -> None:
    (tmp_path / "xray/labels.csv").write_text(
        "file,patient_id,Mass,Effusion,split,sex,age,view\n"
        "0.png,a,1,1,train,F,17,PA\n1.png,a,1,1,train,F,80,AP Supine\n2.png,b,1,1,train,?,,LATERAL\n"
        "3.png,c,1,1,valid,M,40,oblique\n4.png,d,1,1,test,M,40,PA\n5.png,e,1,1,test,M,40,PA\n",
        encoding="utf-8",
    )
    site = load(source)
    assert [known.age_years for known in site.splits["test"].xray.attributes] == [40.0, 40.0]
    assert "labels.csv, column sex: 1 cells, the first in line 4, are not understood and count as unknown" in site.notes


def test_no_passport_says_where_a_hospital_keeps_its_files(source: SourceConfig, tmp_path: Path, load: Load) -> None:
    (tmp_path / "xray/0.png").write_bytes(b"")
    (tmp_path / "xray/extra.png").write_bytes(b"")
    (tmp_path / "ct/train/tumour/f__1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    site = load(source, on_bad_file="skip")
    elsewhere = BadFile(Path("/archive/secret/z.png"), "does not exist")
    found = passport(SiteImages("north", site.splits, (*site.skipped, elsewhere), site.notes, site.folders))
    text = found.model_dump_json()
    assert [bad.file for bad in found.skipped] == ["0.png", "train/tumour/f__1.png", "z.png"]
    assert "extra.png" in text
    assert str(tmp_path) not in text
    assert "secret" not in text


def test_an_error_in_the_data_has_words_for_outside_that_name_no_file(
    source: SourceConfig, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "xray/1.png").write_bytes(b"")
    with pytest.raises(UnusableDataError) as caught:
        load(source)
    assert "1.png" in str(caught.value)
    assert outside_words(caught.value) == "the check finds file-truncated"
    (tmp_path / "xray/labels.csv").write_text("file,Smith\n", "utf-8")
    with pytest.raises(ValueError) as told:  # noqa: PT011  any words
        load(source)
    assert outside_words(told.value) == "its folders or label files are not as expected"
    assert outside_words(FileNotFoundError("/secret/xray: no such folder")) == (
        "a file or folder that its settings name is not there"
    )
    assert outside_words(OSError(5, "Input/output error", "/secret")) == "its disk cannot be read"
