"""What the documents print for the real images, without training, is run as it is printed."""

import json
from pathlib import Path

import pytest

from ..documented import ROOT
from .shell import BIN, Shell, shell

__all__ = ["shell"]
pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture
def here(real_data: Path, tmp_path: Path) -> Path:
    """A folder beside which the real images lie, as beside a checkout."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(real_data)
    here = tmp_path / "here"
    here.mkdir()
    (here / "configs").symlink_to(ROOT / "configs")
    return here


def test_dicom_files_are_looked_at(shell: Shell, here: Path) -> None:
    shell.printed("fedthorax look ../shared/data/dicom --out dicom.png", here)
    assert (here / "dicom.png").is_file()


def test_a_collection_is_dealt_out_unlike(shell: Shell, here: Path) -> None:
    shell.printed(
        "fedthorax partition parts --xray ../shared/data/nih-224 --ct ../shared/data/ct-kaggle/train --alpha 0.3 "
        "--without north=ct --annotates south=Effusion,Nodule --holdout-test 0.2 "
        "--ct-test ../shared/data/ct-kaggle/test",
        here,
    )
    assert (here / "parts/sites.png").is_file()


def test_slices_that_name_their_patients_are_dealt_out(shell: Shell, here: Path) -> None:
    shell.printed(
        "fedthorax partition parts --xray ../shared/data/nih-224-more --ct ../shared/data/lidc-ct-128 "
        "--ct-labels ../shared/data/lidc-ct-128/labels.csv --hospitals north,south --holdout-valid 0.2 "
        "--holdout-test 0.2 --seed 1",
        here,
    )


def test_published_lists_are_kept(shell: Shell, here: Path) -> None:
    with (here / "../shared/data/nih-224/labels.csv").open(encoding="utf-8") as file:
        names = [line.split(",")[0] for line in file][1:]
    (here / "test_list.txt").write_text("".join(f"{name}\n" for name in names[4::5]))
    (here / "train_val_list.txt").write_text("".join(f"{name}\n" for row, name in enumerate(names, 1) if row % 5))
    told = shell.printed(
        "fedthorax partition data/nih --xray $DATA/nih-224 --train-list train_val_list.txt --test-list test_list.txt "
        "--holdout-valid 0.1 --hospitals north,south,east,west,centre --link symlink --seed 1",
        here,
        {"$DATA": "../shared/data"},
    )
    assert " 100 " in next(line for line in told.splitlines() if line.startswith("central/test"))


def test_real_images_are_dealt_out_and_checked(shell: Shell, here: Path) -> None:
    shell.printed("make real", here, more=f"-f {ROOT}/Makefile -o .venv/installed BIN={BIN}")
    # The collection has errors, those that the experiment accepts.
    told = shell.printed("fedthorax check configs/real.yaml --site north --json", here)
    (north,) = json.loads(told[told.index("{") :])["sites"]
    assert north["name"] == "north"
