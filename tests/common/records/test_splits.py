"""Splits by patient."""

import math
from collections import Counter
from pathlib import Path

import pytest

from fedthorax.common.config.data import SplitFractions
from fedthorax.common.records.records import SPLITS, CtRecord, Split, XrayRecord
from fedthorax.common.records.splits import assign_splits, quotas

SHARES = SplitFractions()


def xray(patient: str, *findings: float, split: Split | None = None, number: int = 0) -> XrayRecord:
    return XrayRecord(Path(f"{patient}_{number}.png"), patient, findings, split)


def ct(patient: str, cancer_class: int = 0, split: Split | None = None) -> CtRecord:
    return CtRecord(Path(f"{patient}.png"), patient, cancer_class, split)


def sides(records: tuple[XrayRecord, ...] | tuple[CtRecord, ...]) -> dict[str, set[Split | None]]:
    found: dict[str, set[Split | None]] = {}
    for record in records:
        found.setdefault(record.patient, set()).add(record.split)
    return found


@pytest.mark.parametrize(
    ("num_patients", "shares", "expected"),
    [
        (20, (0.7, 0.15, 0.15), (14, 3, 3)),
        (10, (0.7, 0.15, 0.15), (7, 2, 1)),  # 7, 1.5, 1.5: the tie goes to valid
        (3, (0.7, 0.15, 0.15), (1, 1, 1)),  # 2, 1, 0 by rounding, then at least 1
        (2, (0.7, 0.15, 0.15), (1, 1, 0)),
        (1, (0.7, 0.15, 0.15), (1, 0, 0)),
        (0, (0.7, 0.15, 0.15), (0, 0, 0)),
        (5, (0.0, 0.5, 0.5), (0, 3, 2)),
        (7, (1.0, 0.0, 0.0), (7, 0, 0)),
        (100, (0.98, 0.01, 0.01), (98, 1, 1)),
        (10, (0.98, 0.01, 0.01), (8, 1, 1)),
    ],
)
def test_fractions_are_rounded_by_largest_remainder_and_leave_nobody_without(
    num_patients: int, shares: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    fractions = SplitFractions(train=shares[0], valid=shares[1], test=shares[2])
    assert tuple(quotas(num_patients, fractions).values()) == expected


def test_all_images_of_a_patient_fall_on_one_side_in_both_modalities() -> None:
    xrays = [xray(f"p{n % 10}", float(n % 2), number=n) for n in range(40)]
    slices = [ct(f"p{n}", n % 2) for n in range(5, 15)]
    drawn_xray, drawn_ct = assign_splits(xrays, slices, SHARES, seed=0)
    together = sides(drawn_xray)
    for patient, found in sides(drawn_ct).items():
        together.setdefault(patient, set()).update(found)
    assert all(len(found) == 1 for found in together.values())
    assert Counter(found.pop() for found in sides(drawn_xray).values()) == {"train": 7, "valid": 2, "test": 1}
    assert Counter(found.pop() for found in sides(drawn_ct).values()) == {"train": 7, "valid": 2, "test": 1}
    assert [record.path for record in drawn_xray] == [record.path for record in xrays]


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_files() -> None:
    xrays = [xray(f"p{n}", float(n % 3 == 0)) for n in range(30)]
    slices = [ct(f"q{n}", n % 4) for n in range(30)]
    first = assign_splits(xrays, slices, SHARES, seed=1)
    again = assign_splits(xrays[::-1], slices[::-1], SHARES, seed=1)
    assert (sides(first[0]), sides(first[1])) == (sides(again[0]), sides(again[1]))
    assert sides(first[0]) != sides(assign_splits(xrays, slices, SHARES, seed=2)[0])


@pytest.mark.parametrize("seed", range(5))
def test_ct_classes_keep_their_proportions_in_every_split(seed: int) -> None:
    slices = [ct(f"p{n}", 0 if n < 60 else 1 if n < 90 else 2) for n in range(100)]
    _, drawn = assign_splits([], slices, SplitFractions(train=0.6, valid=0.2, test=0.2), seed)
    counts = {split: Counter(r.cancer_class for r in drawn if r.split == split) for split in SPLITS}
    assert counts == {"train": {0: 36, 1: 18, 2: 6}, "valid": {0: 12, 1: 6, 2: 2}, "test": {0: 12, 1: 6, 2: 2}}


@pytest.mark.parametrize("seed", range(5))
def test_rare_findings_and_rare_absences_reach_every_split(seed: int) -> None:
    # Finding 0 is present in 4 of 40, finding 1 absent in 4 of 40, finding 2 never known.
    xrays = [xray(f"p{n}", float(n < 4), float(n < 36), math.nan) for n in range(40)]
    drawn, _ = assign_splits(xrays, [], SplitFractions(train=0.5, valid=0.25, test=0.25), seed)
    for finding, value in ((0, 1.0), (1, 0.0)):
        counts = Counter(record.split for record in drawn if record.findings[finding] == value)
        assert counts == {"train": 2, "valid": 1, "test": 1}


@pytest.mark.parametrize("seed", range(10))
def test_among_few_patients_with_many_labels_every_class_and_finding_reaches_every_split(seed: int) -> None:
    patients = [f"p{n}" for n in range(24)]
    xrays = [xray(p, *(float(n % 6 == finding) for finding in range(4))) for n, p in enumerate(patients)]
    slices = [ct(p, (n // 6 + n) % 4) for n, p in enumerate(patients)]
    drawn_xray, drawn_ct = assign_splits(xrays, slices, SplitFractions(train=0.6, valid=0.2, test=0.2), seed)
    for split in SPLITS:
        assert {record.cancer_class for record in drawn_ct if record.split == split} == {0, 1, 2, 3}
        assert all(any(r.findings[f] for r in drawn_xray if r.split == split) for f in range(4))
    assert Counter(record.split for record in drawn_ct) == {"train": 14, "valid": 5, "test": 5}


@pytest.mark.parametrize("seed", range(5))
def test_the_few_healthy_images_reach_every_split_where_all_patients_are_ill(seed: int) -> None:
    xrays = [xray(f"p{n}", 1.0) for n in range(40)] + [xray(f"p{n}", 0.0, number=1) for n in range(4)]
    drawn, _ = assign_splits(xrays, [], SplitFractions(train=0.5, valid=0.25, test=0.25), seed)
    assert Counter(r.split for r in drawn if r.findings == (0.0,)) == {"train": 2, "valid": 1, "test": 1}


def test_a_given_split_is_kept_and_decides_for_the_other_modality() -> None:
    xrays = [xray("a", 1.0), xray("b", 0.0), xray("b", 0.0, split="test", number=1)]
    slices = [ct("a", split="valid"), ct("c", split="train")]
    drawn_xray, drawn_ct = assign_splits(xrays, slices, SHARES, seed=0)
    assert [record.split for record in drawn_xray] == ["valid", "test", "test"]
    assert [record.split for record in drawn_ct] == ["valid", "train"]


def test_nothing_is_drawn_where_everything_is_given() -> None:
    slices = [ct(f"p{n}", split="train" if n else "valid") for n in range(20)]
    _, drawn = assign_splits([], slices, SHARES, seed=0)
    assert Counter(record.split for record in drawn) == {"train": 19, "valid": 1}


def test_a_patient_on_two_given_sides_is_named() -> None:
    with pytest.raises(ValueError, match=r"puts 1 patient on two sides: p \(train and test\); move all images"):
        assign_splits([xray("p", 1.0, split="train")], [ct("p", split="test")], SHARES, seed=0)
    torn = [xray(f"p{n}", 1.0, split=split, number=i) for n in range(7) for i, split in enumerate(SPLITS)]
    with pytest.raises(ValueError, match=r"7 patients on two sides: p0 \(train and valid and test\).* and 2 more;"):
        assign_splits(torn, [], SHARES, seed=0)


def test_a_fraction_of_zero_draws_nobody() -> None:
    drawn, _ = assign_splits(
        [xray(f"p{n}", 1.0) for n in range(9)], [], SplitFractions(train=0, valid=0.5, test=0.5), 0
    )
    assert Counter(record.split for record in drawn) == {"valid": 5, "test": 4}


@pytest.mark.parametrize("num_both", range(8))
def test_each_modality_has_patients_in_every_split_however_many_have_both(num_both: int) -> None:
    xrays = [xray(f"p{n}", float(n % 3 == 0), float(n % 4 == 0)) for n in range(10)]
    slices = [ct(f"p{n}", n % 3) for n in range(10 - num_both, 20 - num_both)]
    drawn_xray, drawn_ct = assign_splits(xrays, slices, SHARES, seed=0)
    for drawn in (drawn_xray, drawn_ct):
        numbers = Counter(record.split for record in drawn)
        assert sum(numbers.values()) == 10
        assert numbers == {"train": 7, "valid": 2, "test": 1}, numbers
