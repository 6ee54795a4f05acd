"""The files below a folder."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.records.listing import list_images

Draw = Callable[..., Path]


def test_images_are_found_in_any_depth_and_other_files_are_named(tmp_path: Path, draw: Draw) -> None:
    for name in ("b.PNG", "a/deep/c.jpeg", "a/d.jpg"):
        draw(tmp_path / name)
    (tmp_path / "a/notes.txt").touch()
    listing = list_images(tmp_path)
    assert list(listing.images) == ["a/d.jpg", "a/deep/c.jpeg", "b.PNG"]
    assert listing.images["b.PNG"] == tmp_path / "b.PNG"
    assert listing.others == ("a/notes.txt",)


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / ".trash/a.png")
    (tmp_path / ".DS_Store").touch()
    listing = list_images(tmp_path)
    assert not listing.images
    assert not listing.others


def test_a_link_back_to_the_top_ends_and_a_link_aside_is_followed(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "store/a.png")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/round").symlink_to(tmp_path / "site")
    (tmp_path / "site/aside").symlink_to(tmp_path / "store")
    assert list(list_images(tmp_path / "site").images) == ["aside/a.png"]


def test_a_link_to_nothing_is_still_listed_so_that_it_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "IM1").symlink_to(tmp_path / "nowhere")
    listing = list_images(tmp_path)
    assert list(listing.images) == ["gone.png"]
    assert (listing.others, list(listing.dead)) == ((), ["IM1", "gone.png"])


def test_two_spellings_of_one_accent_are_one_name(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "u\u0308ber.png")
    assert list(list_images(tmp_path).images) == ["\u00fcber.png"]


def test_a_missing_folder_and_a_file_in_its_place_are_told_apart(tmp_path: Path, draw: Draw) -> None:
    with pytest.raises(FileNotFoundError, match="this folder does not exist"):
        list_images(tmp_path / "none")
    with pytest.raises(NotADirectoryError, match="expected a folder, found a file"):
        list_images(draw(tmp_path / "a.png"))


def test_a_subfolder_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked: this folder may not be read by this user"):
        list_images(tmp_path)


def test_dicom_files_are_found_whatever_they_are_called(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    for name in ("a.dcm", "IM000001", "1.2.840.10008", "DICOMDIR", "b.DCM"):
        write_dicom(tmp_path / name, np.zeros((2, 2), np.uint8))
    (tmp_path / "notes").write_text("as agreed")
    (tmp_path / "v.nii.gz").touch()
    (tmp_path / "logs.gz").touch()
    listing = list_images(tmp_path)
    assert list(listing.images) == ["1.2.840.10008", "IM000001", "a.dcm", "b.DCM", "v.nii.gz"]
    assert listing.others == ("DICOMDIR", "logs.gz", "notes")
