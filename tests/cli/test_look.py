"""``fedthorax look`` writes a picture for its owner's eyes and says what is not used."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedthorax.cli import main as cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / f"images/{number}.png")
    (tmp_path / "images/1.png").write_bytes(b"")
    return Path("images")


def test_the_picture_is_written_and_bad_files_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["look", str(folder), "--size", "32", "--columns", "2"]) == 0
    assert capsys.readouterr().out == (
        "wrote look.png: 3 of 3 images, 1 of them not used\n  1.png: is empty (0 bytes)\n"
    )
    with Image.open("look.png") as picture:
        assert picture.width == 6 + 2 * 38
    assert stat.S_IMODE(Path("look.png").stat().st_mode) == 0o600


def test_json_lists_what_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["look", str(folder), "--limit", "2", "--out", "a.png", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "picture": str(Path("a.png").absolute()),
        "shown": ["0.png", "2.png"],
        "images": 3,
        "not_used": [],
    }


def test_a_file_is_not_overwritten_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("look.png").write_text("mine")
    assert cli.run(["look", str(folder)]) == 1
    assert "look.png exists; name another file with --out, or give --overwrite" in capsys.readouterr().err
    assert cli.run(["look", str(folder), "--overwrite"]) == 0


def test_a_folder_without_images_or_none_at_all_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert cli.run(["look", "empty"]) == 1
    assert "empty: holds no PNG, JPEG, DICOM or NIfTI file" in capsys.readouterr().err
    assert cli.run(["look", "nowhere"]) == 1
    assert "nowhere: no such folder or file" in capsys.readouterr().err
    assert not Path("look.png").exists()


def test_an_experiment_is_no_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.yaml").write_text("name: x\n")
    assert cli.run(["look", "x.yaml"]) == 1
    assert "an experiment is named with --config" in capsys.readouterr().err
    assert not Path("look.png").exists()
