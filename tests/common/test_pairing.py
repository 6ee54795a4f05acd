"""Which X-ray meets which CT slice."""

from collections import Counter

import numpy as np
import pytest

from fedthorax.common.pairing import (
    ABSENT,
    EpochLength,
    Pairing,
    Pairs,
    Uses,
    evaluation_pairs,
    images_by_patient,
    in_turn,
    reuse,
    training_pairs,
)

XRAYS = tuple(f"x{n}" for n in range(7))
SLICES = tuple(f"c{n}" for n in range(3))


@pytest.mark.parametrize("pairing", ["random", "patient_first"])
@pytest.mark.parametrize(("epoch_length", "pairs"), [("longest", 7), ("shortest", 3), ("xray", 7), ("ct", 3)])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_epoch_has_the_stated_length_and_uses_images_evenly(
    pairing: Pairing, epoch_length: EpochLength, pairs: int, swapped: bool
) -> None:
    sides = (SLICES, XRAYS) if swapped else (XRAYS, SLICES)
    if swapped and epoch_length in ("xray", "ct"):
        pairs = 10 - pairs
    drawn = training_pairs(*sides, pairing, epoch_length, seed=0)
    assert len(drawn) == len(drawn.xray) == len(drawn.ct) == pairs
    for indices, patients in ((drawn.xray, sides[0]), (drawn.ct, sides[1])):
        assert indices.dtype == np.int64
        counts = np.bincount(indices, minlength=len(patients))
        assert set(counts) <= {pairs // len(patients), -(-pairs // len(patients))}


def test_no_image_is_reused_before_all_others_of_its_side_were_used() -> None:
    ct = training_pairs(XRAYS, SLICES, "random", "longest", seed=3).ct
    assert sorted(ct[:3]) == sorted(ct[3:6]) == [0, 1, 2]


def test_the_pairs_follow_from_the_seed_alone_and_change_with_it() -> None:
    for pairing in ("random", "patient_first"):
        first, again, other = (training_pairs(XRAYS, XRAYS, pairing, "longest", seed) for seed in (5, 5, 6))
        np.testing.assert_array_equal([first.xray, first.ct], [again.xray, again.ct])
        assert not np.array_equal(first.xray, other.xray)


def test_a_new_epoch_brings_new_partners_and_another_part_of_the_longer_side() -> None:
    epochs = [training_pairs(XRAYS, SLICES, "random", "shortest", seed) for seed in range(30)]
    assert {int(row) for epoch in epochs for row in epoch.xray} == set(range(7))
    partners = {(int(x), int(c)) for epoch in epochs for x, c in zip(epoch.xray, epoch.ct, strict=True)}
    assert len(partners) == 21


def test_the_order_of_one_side_tells_nothing_about_the_other() -> None:
    pairs = training_pairs(range(100), range(100), "random", "longest", seed=0)  # type: ignore[arg-type]
    assert np.mean(pairs.xray == pairs.ct) < 0.1


def same(pairs: Pairs, xray: tuple[str, ...], ct: tuple[str, ...]) -> Counter[str]:
    return Counter(xray[x] for x, c in zip(pairs.xray, pairs.ct, strict=True) if xray[x] == ct[c])


@pytest.mark.parametrize("seed", range(10))
def test_patient_first_joins_every_patient_with_both_one_to_one(seed: int) -> None:
    xray = ("a", "a", "b", "c", "d", "e", "f")
    ct = ("a", "b", "b", "z")
    pairs = training_pairs(xray, ct, "patient_first", "longest", seed)
    found = same(pairs, xray, ct)
    # b has one X-ray; the slice of a is used once or, in the second shuffle of the slices, twice.
    assert found["b"] == 1
    assert found["a"] == np.sum(pairs.ct == 0)
    assert sorted(pairs.xray) == list(range(7))


@pytest.mark.parametrize("seed", range(10))
def test_patient_first_chooses_images_with_a_partner_where_not_all_are_used(seed: int) -> None:
    xray = ("a", "b", "c", "d", "e", "f", "g", "a")
    ct = ("a", "g")
    assert same(training_pairs(xray, ct, "patient_first", "shortest", seed), xray, ct) == {"a": 1, "g": 1}


def test_patient_first_spreads_the_pairs_of_one_person_over_the_epoch() -> None:
    xray = tuple(f"p{n}" for n in range(40))
    ct = tuple(f"p{n}" for n in range(10)) + tuple(f"q{n}" for n in range(20))
    pairs = training_pairs(xray, ct, "patient_first", "shortest", seed=0)
    rows = [row for row in range(30) if xray[pairs.xray[row]] == ct[pairs.ct[row]]]
    assert len(rows) == 10
    assert min(rows) < 10 < 20 < max(rows)


def test_patient_first_matches_several_images_of_a_patient_at_random() -> None:
    matches = set()
    for seed in range(20):
        pairs = training_pairs(("a", "a"), ("a", "a"), "patient_first", "longest", seed)
        matches.add(tuple(sorted(zip(pairs.xray.tolist(), pairs.ct.tolist(), strict=True))))
    assert matches == {((0, 0), (1, 1)), ((0, 1), (1, 0))}


def test_patient_first_pairs_the_rest_at_random() -> None:
    partners = set()
    for seed in range(40):
        pairs = training_pairs(("a", "x", "y"), ("a", "c", "d"), "patient_first", "longest", seed)
        partners.update(zip(pairs.xray.tolist(), pairs.ct.tolist(), strict=True))
    assert partners == {(0, 0), (1, 1), (1, 2), (2, 1), (2, 2)}


@pytest.mark.parametrize(("num_xray", "num_ct"), [(7, 3), (3, 7), (4, 4), (1, 5)])
def test_in_evaluation_every_image_counts_exactly_once(num_xray: int, num_ct: int) -> None:
    pairs = evaluation_pairs(num_xray, num_ct, seed=1)
    assert len(pairs) == max(num_xray, num_ct)
    assert sorted(pairs.xray[pairs.counts_xray]) == list(range(num_xray))
    assert sorted(pairs.ct[pairs.counts_ct]) == list(range(num_ct))
    again = evaluation_pairs(num_xray, num_ct, seed=1)
    np.testing.assert_array_equal(pairs.ct, again.ct)


@pytest.mark.parametrize(("xray", "ct"), [((), SLICES), (XRAYS, ()), ((), ())])
@pytest.mark.parametrize("pairing", ["random", "patient_first"])
@pytest.mark.parametrize("epoch_length", ["longest", "shortest", "xray", "ct"])
def test_without_images_on_one_side_there_are_no_pairs(
    xray: tuple[str, ...], ct: tuple[str, ...], pairing: Pairing, epoch_length: EpochLength
) -> None:
    drawn = training_pairs(xray, ct, pairing, epoch_length, seed=0)
    assert (len(drawn), drawn.xray.shape, drawn.ct.shape) == (0, (0,), (0,))
    scored = evaluation_pairs(len(xray), len(ct), seed=0)
    assert (len(scored), scored.counts_xray.shape, scored.counts_ct.shape) == (0, (0,), (0,))


def test_the_report_counts_uses_and_pairs_of_one_person() -> None:
    pairs = Pairs(xray=np.array([0, 1, 2, 3]), ct=np.array([0, 1, 0, 1]))
    report = reuse(pairs, num_xray=4, num_ct=3, xray_patients=("a", "b", "c", "d"), ct_patients=("a", "d", "e"))
    assert report.pairs == 4
    assert report.xray_uses == Uses(1, 1.0, 1)
    assert report.ct_uses == Uses(0, pytest.approx(4 / 3), 2)
    assert report.same_patient_pairs == 2
    assert reuse(pairs, 4, 3).same_patient_pairs is None


def test_the_uses_of_no_images_are_undefined_and_not_zero() -> None:
    empty = Pairs(np.empty(0, np.int64), np.empty(0, np.int64))
    assert reuse(empty, 0, 2).xray_uses == Uses(None, None, None)
    assert reuse(empty, 0, 2).ct_uses == Uses(0, 0.0, 0)


def test_by_patient_a_series_counts_once_an_epoch_and_shows_another_slice_in_another() -> None:
    patients = ("long",) * 100 + ("short", "other")
    chosen = [images_by_patient(patients, seed) for seed in range(20)]
    assert all(sorted(map(len, images)) == [1, 1, 100] for images in chosen)
    assert all(len({patients[row] for row in rows}) == 1 for images in chosen for rows in images)
    firsts = [next(rows[0] for rows in images if len(rows) == 100) for images in chosen]
    assert len(set(firsts)) > 15
    assert images_by_patient(patients, 3) == chosen[3]
    assert images_by_patient((), 0) == []


def test_a_patient_who_comes_again_shows_another_image_until_all_were_shown() -> None:
    rows = in_turn([[4, 2, 7], [1]], np.array([0, 1, 0, ABSENT, 0, 1, 0]))
    assert rows.tolist() == [4, 1, 2, ABSENT, 7, 1, 4]
