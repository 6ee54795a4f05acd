"""Which patient is trained on, validated on, tested on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fedthorax.common.config.data import SplitFractions
from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.records import SPLITS, CtRecord, Split, XrayRecord
from fedthorax.common.records.table import listed

# Enough for a hospital of a few hundred patients; thousands need none, and it takes a tenth of a second.
_NUM_SWAPS = 5000


def assign_splits(
    xray: Sequence[XrayRecord], ct: Sequence[CtRecord], fractions: SplitFractions, seed: int, keep_torn: bool = False
) -> tuple[tuple[XrayRecord, ...], tuple[CtRecord, ...]]:
    """The same records, each with its split; no patient stands on two sides, in both modalities together.

    A given split is kept, and decides for all images of that patient. If every record has one, nothing is drawn, so
    folders with only train/ and valid/ have no test split. The other patients are drawn with ``seed``, independent of
    the order of the records.

    In each modality the drawn patients number the fractions rounded by largest remainder (ties: train, valid, test),
    and then at least 1 for each fraction above 0 if there are that many patients; those with both modalities are
    drawn first and rounded by themselves. Within these numbers the draw is stratified by the patients' findings and CT
    classes, rarest first (K. Sechidis et al., On the Stratification of Multi-label Data, ECML PKDD 2011), but towards
    numbers rounded in the same way: of three patients with a rare finding one is wished for in each split. Then
    patients are exchanged where that brings the splits nearer to these numbers.

    Raises ValueError naming the patients for whom two different splits were given; with ``keep_torn`` their images stay
    where they are instead, and those without a split go to the first of their patient's.
    """
    chosen = _given(xray, ct, keep_torn)
    traits: dict[str, set[str]] = {}
    modalities: dict[str, set[str]] = {}
    for record in xray:
        # Absence counts as well: where nearly everybody has a finding, it is the healthy who get lost in a draw.
        known = {f"finding {index} is {value:g}" for index, value in enumerate(record.findings) if value == value}
        traits.setdefault(record.patient, set()).update(known)
        modalities.setdefault(record.patient, set()).add("xray")
    for slice_ in ct:
        traits.setdefault(slice_.patient, set()).add(f"class {slice_.cancer_class}")
        modalities.setdefault(slice_.patient, set()).add("ct")
    undecided = {patient: traits[patient] for patient in sorted(traits) if patient not in chosen}
    chosen |= _draw_modalities(undecided, modalities, fractions, np.random.default_rng(seed))
    return (
        tuple(replace(record, split=record.split or chosen[record.patient]) for record in xray),
        tuple(replace(record, split=record.split or chosen[record.patient]) for record in ct),
    )


def quotas(num_patients: int, fractions: SplitFractions) -> dict[Split, int]:
    """Patients a split; they sum to ``num_patients``."""
    total = fractions.train + fractions.valid + fractions.test
    share = {split: getattr(fractions, split) / total for split in SPLITS}
    numbers = {split: int(share[split] * num_patients + 1e-9) for split in SPLITS}
    by_remainder = sorted(SPLITS, key=lambda split: round(numbers[split] - share[split] * num_patients, 9))
    for split in by_remainder[: num_patients - sum(numbers.values())]:
        numbers[split] += 1
    for split in SPLITS:
        largest = max(SPLITS, key=lambda other: numbers[other])
        if share[split] > 0 and numbers[split] == 0 and numbers[largest] > 1:
            numbers[split] += 1
            numbers[largest] -= 1
    return numbers


def _given(xray: Sequence[XrayRecord], ct: Sequence[CtRecord], keep_torn: bool) -> dict[str, Split]:
    given: dict[str, set[Split]] = {}
    records: list[XrayRecord | CtRecord] = [*xray, *ct]
    for record in records:
        if record.split is not None:
            given.setdefault(record.patient, set()).add(record.split)
    torn = sorted(patient for patient, splits in given.items() if len(splits) > 1)
    if torn and not keep_torn:
        named = [f"{p} ({' and '.join(split for split in SPLITS if split in given[p])})" for p in torn]
        raise ValueError(
            f"the given split puts {number_of(len(torn), 'patient')} on two sides: {listed(named)}; "
            "move all images of a patient, X-rays and CT, to one side"
        )
    return {patient: min(splits, key=SPLITS.index) for patient, splits in given.items()}


def _draw_modalities(
    traits: Mapping[str, set[str]],
    modalities: Mapping[str, set[str]],
    fractions: SplitFractions,
    random: np.random.Generator,
) -> dict[str, Split]:
    """A split for each patient of ``traits``, which are sorted."""
    num_holders = Counter(trait for patient in traits for trait in traits[patient])
    left = {trait: quotas(number, fractions) for trait, number in num_holders.items()}
    both = {patient: traits[patient] for patient in traits if len(modalities[patient]) == 2}
    both_places = quotas(len(both), fractions)
    drawn = _draw(both, both_places, left, random)
    for modality in ("xray", "ct"):
        single = {patient: traits[patient] for patient in traits if modalities[patient] == {modality}}
        places = _less(quotas(len(both) + len(single), fractions), both_places)
        drawn |= _draw(single, places, left, random)
    _swap(drawn, traits, modalities, num_holders, left, random)
    return drawn


def _swap(
    drawn: dict[str, Split],
    traits: Mapping[str, set[str]],
    modalities: Mapping[str, set[str]],
    num_holders: Mapping[str, int],
    left: dict[str, dict[Split, int]],
    random: np.random.Generator,
) -> None:
    """Exchange pairs of patients in ``drawn``, and count ``left``, where that leaves less unfulfilled.

    The draw settles the rarest trait first and never goes back, so among few patients with many traits it often leaves
    a whole class out of a split that could have held it.
    """

    def far_off(names: Sequence[str]) -> float:
        return sum(sum(map(abs, left[trait].values())) / num_holders[trait] for trait in names)

    def move(patient: str, source: Split, target: Split) -> None:
        for trait in traits[patient]:
            left[trait][source] += 1
            left[trait][target] -= 1
        drawn[patient] = target

    names = list(traits)
    for first, second in random.integers(len(names), size=(_NUM_SWAPS if names else 0, 2)):
        one, other = names[first], names[second]
        side, opposite = drawn[one], drawn[other]
        if side == opposite or modalities[one] != modalities[other]:
            continue
        touched = sorted(traits[one] ^ traits[other])
        before = far_off(touched)
        move(one, side, opposite)
        move(other, opposite, side)
        if far_off(touched) > before - 1e-9:
            move(one, opposite, side)
            move(other, side, opposite)


def _less(places: dict[Split, int], taken: dict[Split, int]) -> dict[Split, int]:
    """``places`` less ``taken``; what one split would lack is taken from the one that has most left."""
    left = {split: places[split] - taken[split] for split in SPLITS}
    for split in SPLITS:
        while left[split] < 0:
            largest = max(SPLITS, key=lambda other: left[other])
            left[split] += 1
            left[largest] -= 1
    return left


def _draw(
    patients: dict[str, set[str]],
    places: dict[Split, int],
    wishes: dict[str, dict[Split, int]],
    random: np.random.Generator,
) -> dict[str, Split]:
    """Iterative stratification with exactly ``places``; ``patients`` holds each patient's traits, sorted by patient.

    ``wishes`` holds, by trait, how many patients with it each split still wants, and is counted down.
    """
    places = dict(places)
    names = list(patients)
    waiting = {names[index]: patients[names[index]] for index in random.permutation(len(names))}
    holders = Counter(trait for traits in waiting.values() for trait in traits)
    chosen: dict[str, Split] = {}
    while waiting:
        rarest = min((trait for trait in holders if holders[trait] > 0), key=lambda t: (holders[t], t), default=None)
        for patient in [p for p, traits in waiting.items() if rarest is None or rarest in traits]:
            free = [split for split in SPLITS if places[split] > 0]
            wished = wishes[rarest] if rarest is not None else places
            split = max(free, key=lambda s: (wished[s], places[s]))
            chosen[patient] = split
            places[split] -= 1
            for trait in waiting.pop(patient):
                holders[trait] -= 1
                wishes[trait][split] -= 1
    return chosen
