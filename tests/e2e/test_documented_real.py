"""What the documents print for the real images is run as it is printed, with the default network and its pretrained
weights; what trains for minutes has one round at a smaller size set behind it."""

import csv
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


ONE_ROUND = (
    "--set 'training.phases=[{rounds: 1, trainable: heads, learning_rate: 3e-4}]' --set model.image_size=64 "
    "--set training.augmentation.feature_versions=1 --set evaluation.views=1 --set evaluation.bootstrap_samples=50"
)
WEIGHTS = "--set model.weights=../shared/data/weights/efficientnetb0_notop.h5"
LIDC = """\
name: lidc
labels:
  findings: [Atelectasis, Cardiomegaly, Consolidation, Edema, Effusion, Emphysema, Fibrosis, Hernia, Infiltration, Mass,
    Nodule, Pleural_Thickening, Pneumonia, Pneumothorax]
  cancer_classes: [benign, malignant]
data:
  hospitals:
    north: {xray: parts/north/xray, ct: {folder: parts/north/ct, classes: {indeterminate: null}}}
    south: {xray: parts/south/xray, ct: {folder: parts/south/ct, classes: {indeterminate: null}}}
  central: {xray: parts/central/xray, ct: {folder: parts/central/ct, classes: {indeterminate: null}}}
  splits: {train: 0.8, valid: 0.2, test: 0.0}
"""


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
    (here / "lidc.yaml").write_text(LIDC)
    told = shell.printed("fedthorax train lidc.yaml", here, more=f"{WEIGHTS} {ONE_ROUND}")
    assert "report: runs/lidc/report.html" in told
    examinations = json.loads((here / "runs/lidc/metrics.json").read_text())["test"]["examinations"]
    assert examinations["cancer"]["known"] > 20


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
    told = shell.printed(
        "fedthorax simulate configs/nih-chestxray14.yaml --name nih-224 "
        "--set model.weights=$DATA/weights/efficientnetb0_notop.h5 "
        "--set 'training.phases=[{rounds: 20, trainable: heads, learning_rate: 3e-4}, "
        "{rounds: 1, trainable: all, learning_rate: 1e-4}]'",
        here,
        {"$DATA": "../shared/data"},
        more=ONE_ROUND,
    )
    assert "report: runs/nih-224/report.html" in told


def test_the_collection_as_it_is_published_is_dealt_out_and_trained_on(shell: Shell, here: Path) -> None:
    """A small one in its layout, of the same images."""
    collection = here / "CXR14"
    collection.mkdir()
    data = here / "../shared/data/nih-224"
    (collection / "images_001").symlink_to(data / "images")
    with (data / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [Path(row["file"]).name for row in rows]
    with (collection / "Data_Entry_2017.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position"]
        )
        for name, row in zip(names, rows, strict=True):
            table.writerow([name, *(row[key] for key in ("finding_labels", "patient_id", "age", "sex", "view"))])
    (collection / "test_list.txt").write_text("".join(f"{name}\n" for name in names[4::5]))
    (collection / "train_val_list.txt").write_text("".join(f"{n}\n" for row, n in enumerate(names, 1) if row % 5))
    shell.printed(
        "fedthorax partition data/nih --xray CXR14 --labels CXR14/Data_Entry_2017.csv --train-list "
        "CXR14/train_val_list.txt --test-list CXR14/test_list.txt --holdout-valid 0.1 --hospitals "
        "north,south,east,west,centre --link symlink --seed 1",
        here,
    )
    shell.printed("fedthorax simulate configs/nih-chestxray14.yaml", here, more=f"{WEIGHTS} {ONE_ROUND}")


def test_real_images_are_dealt_out_and_checked(shell: Shell, here: Path) -> None:
    shell.printed("make real", here, more=f"-f {ROOT}/Makefile -o .venv/installed BIN={BIN}")
    # The collection has errors, those that the experiment accepts.
    told = shell.printed("fedthorax check configs/real.yaml --site north --json", here)
    (north,) = json.loads(told[told.index("{") :])["sites"]
    assert north["name"] == "north"
    assert "report: runs/real/" in shell.printed("fedthorax simulate configs/real.yaml", here, more=ONE_ROUND)
    shell.printed(
        "fedthorax train configs/real.yaml --name real-pooled --set training.phases.0.learning_rate=1e-4",
        here,
        more=ONE_ROUND,
    )
    shell.printed(
        "fedthorax simulate configs/real.yaml --name real-20 --set training.phases.0.rounds=20", here, more=ONE_ROUND
    )
    told = shell.printed("fedthorax report runs/real-20 --json", here)
    assert json.loads(told)["report"].endswith("report.html")


def test_what_a_model_of_real_images_gives_away(shell: Shell, here: Path) -> None:
    shell.run(f"make real -f {ROOT}/Makefile -o .venv/installed BIN={BIN}", here)
    told = shell.printed(
        "fedthorax leakage configs/real.yaml --name real-dropout", here, more=f"--canaries 8 {ONE_ROUND}"
    )
    assert "leakage.html" in told
    told = shell.printed(
        "fedthorax leakage configs/real.yaml --set model.dropout=0 --name real-dropout-0 --canaries 0",
        here,
        more=ONE_ROUND,
    )
    assert "leakage.html" in told
