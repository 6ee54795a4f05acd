"""What a folder or file is taken for, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.check.check import SiteCheck, check_site
from fedthorax.common.check.facts_store import FactsStore
from fedthorax.common.check.target import class_folders, targets_of
from fedthorax.common.records.xray_folder import xray_records

Draw = Callable[..., np.ndarray]
Save = Callable[[np.ndarray, Path], Path]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_label_file_makes_a_folder_of_x_rays(tmp_path: Path) -> None:
    write(tmp_path / "mine.csv", "file,patient_id,age,Mass,Effusion,follow-up #\na.png,p,60,1,,0\nb.png,q,70,-1,0,1\n")
    write(tmp_path / "prices.csv", "item,euro\nfilm,3\n")
    (target,) = targets_of(tmp_path)
    assert target.source is not None
    assert target.source.xray is not None
    assert target.source.xray.labels == tmp_path / "mine.csv"
    assert target.source.ct is None


def test_class_folders_with_or_without_splits_make_a_folder_of_ct(tmp_path: Path, body: Draw, save: Save) -> None:
    for name in ("one/train/normal", "one/test/tumour", "two/normal", "two/tumour"):
        save(body(0), tmp_path / name / "a.png")
    for name in ("one", "two"):
        (target,) = targets_of(tmp_path / name)
        assert list(target.folders) == ["ct"]
        assert class_folders(tmp_path / name) == ("normal", "tumour")


def test_xray_and_ct_below_make_a_hospital(tmp_path: Path) -> None:
    write(tmp_path / "xray/labels.csv", "file,Mass\n")
    (tmp_path / "ct/normal").mkdir(parents=True)
    (target,) = targets_of(tmp_path)
    assert set(target.folders) == {"xray", "ct"}


def test_anything_else_is_a_folder_of_loose_images(tmp_path: Path, body: Draw, save: Save) -> None:
    save(body(0), tmp_path / "a.png")
    (target,) = targets_of(tmp_path, modality="ct")
    assert (target.loose, target.loose_modality) == (tmp_path, "ct")


def test_a_label_file_deeper_in_a_folder_is_told(tmp_path: Path, body: Draw, save: Save) -> None:
    save(body(0), tmp_path / "deep/a.png")
    write(tmp_path / "deep/labels.csv", "file,Mass\na.png,1\n")
    (target,) = targets_of(tmp_path)
    with FactsStore(None) as store:
        issues = check_site(target, store).issues
    assert any("it lies deeper: deep/labels.csv" in issue.sentence for issue in issues)


def test_paths_of_a_site_file_are_relative_to_it_and_other_keys_are_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "hospital/site.yaml", "name: mercy\nserver: a:1\nxray: images\nsplits: splits.csv\n")
    (target,) = targets_of(path)
    assert target.name == "mercy"
    assert target.source is not None
    assert target.folders == {"xray": tmp_path / "hospital/images"}
    assert target.source.splits == tmp_path / "hospital/splits.csv"
    assert target.seed is None


def test_an_experiment_is_all_its_hospitals_and_the_centre_or_one(experiment_file: Callable[..., Path]) -> None:
    path = experiment_file()
    assert [target.name for target in targets_of(path)] == ["north", "st.mary", "central"]
    (target,) = targets_of(path, "st.mary")
    assert (target.classes, target.seed) == (("normal", "tumour"), 0)
    with pytest.raises(ValueError, match=r"--site east: .* expected one of north, st\.mary, central"):
        targets_of(path, "east")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a", "expected a key xray or ct with a folder, found name"),
        ("- a", "expected an experiment file, or keys xray and ct, got a list"),
        ("xray: {folder: a, colour: b}", "xray.colour: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_neither_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "site.yaml", text)
    with pytest.raises(ValueError, match=words):
        targets_of(path)


def test_a_missing_path_and_a_needless_site_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        targets_of(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"--site north: .* is a folder"):
        targets_of(tmp_path, "north")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (("labels.csv", "Data_Entry.csv"), "holds several label files (Data_Entry.csv, labels.csv); name one under"),
        (("train.csv", "test.tsv"), "holds 1 image but none of labels.csv"),
    ],
)
def test_of_several_label_files_none_is_taken_as_in_a_run(
    tmp_path: Path, body: Draw, save: Save, check: Callable[..., SiteCheck], tables: tuple[str, ...], words: str
) -> None:
    save(body(0), tmp_path / "a.png")
    for name in tables:
        write(tmp_path / name, "file,patient_id,Mass\na.png,p,1\n".replace(",", "\t" if name.endswith("tsv") else ","))
    (target,) = targets_of(tmp_path)
    assert target.source is not None
    (issue,) = (issue for issue in check(tmp_path).issues if issue.level == "error")
    assert (issue.code, words in issue.sentence) == ("labels-unreadable", True)
    assert all(name in issue.sentence for name in tables)
    assert target.source.xray is not None
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        xray_records(target.source.xray, ("Mass",))
    assert str(refused.value) == issue.sentence


def test_a_table_that_cannot_be_read_is_no_reason_to_call_the_images_unlabelled(
    tmp_path: Path, body: Draw, save: Save, check: Callable[..., SiteCheck]
) -> None:
    save(body(0), tmp_path / "a.png")
    (tmp_path / "Befunde.CSV").write_bytes("file;Erguß\na.png;1\n".encode("windows-1252"))
    (issue,) = (issue for issue in check(tmp_path).issues if issue.level == "error")
    assert "in Windows-1252 it would hold 'Erguß'" in issue.sentence


def test_why_a_table_beside_images_is_not_taken_is_said(
    tmp_path: Path, body: Draw, save: Save, check: Callable[..., SiteCheck]
) -> None:
    save(body(0), tmp_path / "a.png")
    write(tmp_path / "visits.csv", "file,visit\na.png,17\n")
    write(tmp_path / "befunde.csv", "Bild;Befund\na.png;Erguss\n")
    said = [issue.sentence for issue in check(tmp_path).issues]
    assert any("visits.csv: not taken for the label file: no column is one of findings" in words for words in said)
    assert any("befunde.csv: not taken for the label file: expected a column 'file'" in words for words in said)
    assert not any(str(tmp_path) in words for words in said)


def test_a_consortium_whose_hospitals_have_their_classes_in_folders_or_in_tables_of_their_own_words(
    experiment_file: Callable[..., Path], body: Draw, save: Save
) -> None:
    for seed, name in enumerate(("north/normal/p__1.png", "north/tumour/q__1.png", "south/a.png", "south/b.png")):
        save(body(seed), Path(name))
    write(Path("south.csv"), "Bild;Fall;Diagnose\na;7;gesund\nb;8;Karzinom\n")
    path = experiment_file("""
        name: ct
        labels: {findings: [Mass], cancer_classes: [normal, tumour]}
        data:
          hospitals:
            north: {ct: north}
            south:
              ct:
                folder: south
                labels: south.csv
                mapping: {file: Bild, match: stem, patient: Fall, label: Diagnose}
                classes: {gesund: normal, Karzinom: tumour}
          central: null
        model: {absent: token}
        training: {phases: [{rounds: 1, trainable: heads}]}
    """)
    with FactsStore(None) as store:
        north, south = (check_site(target, store) for target in targets_of(path))
    for checked in (north, south):
        assert checked.holdings.label_names == {"ct": ("normal", "tumour")}
        assert [record.cancer_class for record in checked.holdings.ct] == [0, 1]
        assert not [issue for issue in checked.issues if issue.level == "error"]
    assert [record.patient for record in south.holdings.ct] == ["7", "8"]
