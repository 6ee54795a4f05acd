"""What a hospital says of its sizes: nothing small follows from what is told, and no name stands in it."""

from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.passport import passport
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.issues.issue import Issue
from fedthorax.common.metrics.suppression import shown_total
from fedthorax.common.pairing import PairingReport, Uses
from fedthorax.common.record.passport import FAULT_WORDS, Found, PairingTold, Skipped
from fedthorax.common.records.records import BadFile, Fault

SPLITS = ("train", "valid", "test")


def test_a_passport_that_leaves_rounds_its_sizes() -> None:
    train = passport(hospital(23, 9, 8), policy=PrivacyConfig()).splits["train"]
    assert (train.xray, train.xray_patients, train.ct) == (25, 25, 0)
    assert passport(hospital(23, 9, 8)).splits["train"].xray == 23


def test_images_and_patients_of_all_splits_are_hidden_together() -> None:
    """Of 40 images of two people nobody hears that there are two, nor how many they are."""
    told = passport(hospital(40, 12, 40, of_each={"test": 20}), policy=PrivacyConfig()).splits
    for split in SPLITS:  # else the total gives it away
        assert (told[split].xray, told[split].xray_patients) == (None, None)
    assert told["train"].ct == 0


@pytest.mark.parametrize(("smallest", "to"), [(3, 1), (3, 3), (4, 1), (5, 1), (5, 5)])
def test_no_small_size_follows_from_the_others_the_total_and_the_pairs(smallest: int, to: int) -> None:
    policy = PrivacyConfig(smallest_count=smallest, round_to=to)
    worlds: dict[Any, set[tuple[int, ...]]] = defaultdict(set)
    for sizes in product(range(2 * smallest + 2), range(2 * smallest + 2), range(2 * smallest + 2)):
        told = passport(hospital(*sizes), policy=policy).splits
        shown = tuple(told[split].xray for split in SPLITS)
        total = shown_total(sum(sizes), sum(sizes), policy)
        worlds["total", shown, total].add(sizes)
        worlds["pairs", shown, total, sizes[0]].add(sizes)
    for (known, *_), alike in worlds.items():
        for place, values in enumerate(zip(*alike, strict=True)):
            if any(0 < value < smallest for value in values) and (known, place) != ("pairs", 0):
                assert len(set(values)) > 1, (known, sorted(alike))


def test_how_often_an_image_is_used_is_not_told_where_their_number_is_hidden() -> None:
    report = PairingReport(23, Uses(1, 1.0, 1), Uses(7, 23 / 3, 8), 3)
    told = passport(hospital(23, 9, 8, ct=3), report, PrivacyConfig()).pairing
    assert told is not None
    assert (told.ct_uses.min, told.ct_uses.mean, told.ct_uses.max) == (None, None, None)  # 23 pairs, each of 3 slices
    assert told.xray_uses.mean == 1.0


def test_the_number_of_pairs_stays_exact_because_the_weight_of_an_update_tells_it_anyway() -> None:
    report = PairingReport(23, Uses(1, 23 / 17, 2), Uses(1, 1.0, 1), 3)
    told = passport(hospital(17, 9, 8, ct=23), report, PrivacyConfig()).pairing
    assert isinstance(told, PairingTold)
    assert (told.pairs, told.xray_uses.mean, told.same_patient_pairs) == (23, 1.4, None)


def test_no_name_of_a_file_and_no_cell_leaves_where_the_hospital_does_not_want_it() -> None:
    faults: list[Fault] = ["truncated", "truncated", "not_used", "other"]
    skipped = tuple(
        BadFile(Path(f"/x/Smith_{n}.png"), "it is called Smith", fault=fault) for n, fault in enumerate(faults)
    )
    notes = ("labels.csv, column sex: Smith is not understood", "2 files are not images: Smith.txt")
    issues = (Issue("patient-unknown", 12, "no patient is known for 12 X-rays", ("Smith_1.png",), "xray"),)
    site = hospital(20, 20, 20, skipped=skipped, notes=notes, issues=issues)
    told = passport(site, policy=PrivacyConfig(), file_names=False)
    assert "Smith" not in told.model_dump_json()
    assert [(one.fault, one.count) for one in told.skipped] == [("not_used", 1), ("other", 1), ("truncated", 2)]
    assert (told.notes, told.notes_kept) == ((), 2)
    assert told.check == (Found(code="patient-unknown", level="note", modality="xray", count=10),)
    named = passport(site)
    assert named.skipped[0] == Skipped(fault="truncated", count=1, file="Smith_0.png", reason="it is called Smith")
    assert (named.notes, named.notes_kept) == (notes, 0)


def test_every_fault_of_a_file_has_its_words() -> None:
    assert set(FAULT_WORDS) == set(get_args(Fault))


def hospital(*sizes: int, ct: int = 0, of_each: dict[str, int] | None = None, **facts: Any) -> SiteImages:
    """So many X-rays in train, valid and test, ``of_each`` of a patient, else one; ``ct`` slices in train."""
    splits: Any = {
        split: SplitImages(images(size, "x", split, (of_each or {}).get(split, 1)), images(slices, "c", split))
        for split, size, slices in zip(SPLITS, sizes, (ct, 0, 0), strict=True)
    }
    return SiteImages("north", splits, **facts)


def images(number: int, kind: str, split: str, of_each: int = 1) -> ImageSet:
    names = tuple(f"{kind}{split}{row}" for row in range(number))
    patients = tuple(f"{kind}{split}{row // of_each}" for row in range(number))
    return ImageSet(np.zeros((number, 1, 1, 3), np.uint8), np.zeros(number), tuple(map(Path, names)), patients, names)
