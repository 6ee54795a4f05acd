"""The real folders: what is found there, and how often the alarm is false. The figures stand in docs/check.md."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.check.check import SiteCheck

pytestmark = pytest.mark.real_data

Check = Callable[..., SiteCheck]


def counts_of(checked: SiteCheck) -> dict[str, int]:
    return {issue.code: issue.count for issue in checked.issues if issue.level != "note"}


@pytest.mark.parametrize(
    ("folder", "alarms"),
    [
        ("nih-224", {"inverted": 2, "sideways": 3}),
        ("nih-1024", {"inverted": 1, "sideways": 1, "annotated": 2}),
        ("hannover-224", {"inverted": 1}),
    ],
)
def test_alarms_on_real_radiographs_are_few(real_data: Path, check: Check, folder: str, alarms: dict[str, int]) -> None:
    assert counts_of(check(real_data / folder)) == alarms


def test_copies_pen_strokes_and_shortcuts_of_the_ct_collection_are_found(real_data: Path, check: Check) -> None:
    checked = check(real_data / "ct-kaggle")
    found = counts_of(checked)
    assert found["duplicate-across-splits"] == 56
    assert found["duplicate-different-labels"] == 2
    assert found["near-duplicate-across-splits"] == 2
    assert found["annotated"] == 34
    (shortcut,) = [issue for issue in checked.issues if issue.code == "shortcut"]
    assert "picture size predicts normal" in shortcut.sentence


def test_a_deliberately_mislabelled_dicom_file_is_found(real_data: Path, check: Check) -> None:
    checked = check(real_data / "dicom/cr_chest")
    (inverted,) = [issue for issue in checked.issues if issue.code == "inverted"]
    assert inverted.files == ("rsna_Fake_MONOHR1.dcm",)


@pytest.mark.parametrize(
    ("folder", "alarms"), [("nih-224-more", 0), ("rsna-224", 0), ("kermany-224", 0), ("ct-kaggle", 11)]
)
def test_few_real_pictures_are_unlike_their_neighbours(real_data: Path, check: Check, folder: str, alarms: int) -> None:
    assert counts_of(check(real_data / folder)).get("unlike-neighbours", 0) == alarms
