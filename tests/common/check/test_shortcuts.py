"""Hand-sized: which property predicts which label, and when nothing is said."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.check.shortcuts import Shortcut, shortcut_issues, shortcuts
from fedthorax.common.hospital.labelled import LabelledImage
from fedthorax.common.records.records import ImageRef

FACTS = ImageFacts(
    "", 10, 10, "PNG", "L", 8, 100.0, 200, 0.0, 0.0, 0.0, 0.0, 1.0, 0, (1.0, 0.0, 0.0, 0.0), 1.0, b"", b"", b""
)


def asked(labels: list[float], greys: list[float], patients: list[str] | None = None) -> dict[str, Shortcut]:
    """One finding, one X-ray a label, told apart only by mean grey."""
    images = [
        LabelledImage(
            "xray", ImageRef(Path(str(row))), str(row), patients[row] if patients else f"p{row}", (label,), "train"
        )
        for row, label in enumerate(labels)
    ]
    facts = {image.ref: replace(FACTS, mean_grey=grey) for image, grey in zip(images, greys, strict=True)}
    return {shortcut.by: shortcut for shortcut in shortcuts(images, facts, {"xray": ["Mass"]})}


def test_a_property_that_all_images_share_is_not_asked() -> None:
    assert set(asked([1, 0] * 10, [float(row) for row in range(20)])) == {"mean grey"}


def test_a_perfect_predictor_warns_in_either_direction() -> None:
    for bright in (200.0, 10.0):
        found = asked([1] * 10 + [0] * 10, [bright] * 10 + [100.0] * 10)["mean grey"]
        assert found.roc_auc == 1.0
        assert found.interval == (1.0, 1.0)
        assert found.is_warning
        (issue,) = shortcut_issues([found])
        assert issue.sentence == "mean grey predicts Mass with ROC-AUC 1.00 (1.00 to 1.00)"


def test_ties_count_half_and_no_difference_is_no_warning() -> None:
    # 10 positives at 1 or 2, 10 negatives at 1 or 2: of 100 pairs 50 are ties, 25 won, 25 lost.
    found = asked([1] * 10 + [0] * 10, [1.0, 2.0] * 10)["mean grey"]
    assert found.roc_auc == 0.5
    assert not found.is_warning


def test_the_interval_is_that_of_hanley_and_mcneil() -> None:
    # 9 of 10 positives above all 10 negatives, one below all: ROC-AUC 0.9, one question, 1.96 standard errors.
    found = asked([1] * 10 + [0] * 10, [2.0] * 9 + [0.0] + [1.0] * 10)["mean grey"]
    area, q1, q2 = 0.9, 0.9 / 1.1, 2 * 0.81 / 1.9
    error = math.sqrt((area * 0.1 + 9 * (q1 - 0.81) + 9 * (q2 - 0.81)) / 100)
    assert found.roc_auc == pytest.approx(0.9)
    assert found.interval == pytest.approx((0.9 - 1.959964 * error, 1.0))


def test_few_patients_say_nothing_however_many_images_they_have() -> None:
    patients = [f"p{row % 3}" for row in range(20)] + [f"q{row}" for row in range(20)]
    found = asked([1] * 20 + [0] * 20, [2.0] * 20 + [1.0] * 20, patients)["mean grey"]
    assert (found.roc_auc, found.interval, found.is_warning) == (None, None, False)
    assert found.reason == "3 patients with Mass and 20 without; 10 of each are needed"


def test_an_unknown_label_is_neither_with_nor_without() -> None:
    found = asked([1] * 10 + [0] * 10 + [math.nan] * 5, [2.0] * 10 + [1.0] * 10 + [9.0] * 5)["mean grey"]
    assert (found.roc_auc, found.positives, found.negatives) == (1.0, 10, 10)


def test_a_file_format_can_give_a_label_away() -> None:
    images = [LabelledImage("ct", ImageRef(Path(str(r))), str(r), str(r), (float(r % 2),), None) for r in range(40)]
    facts = {image.ref: replace(FACTS, format="JPEG" if r % 2 else "PNG") for r, image in enumerate(images)}
    found = {(s.label, s.by): s.roc_auc for s in shortcuts(images, facts, {"ct": ["normal", "tumour"]})}
    assert found == {("normal", "file format JPEG"): 1.0, ("tumour", "file format JPEG"): 1.0}
