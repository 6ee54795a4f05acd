"""Which patient is trained on, validated on, tested on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedthorax.common.config.data import SplitFractions
from fedthorax.common.data.records import SPLITS, CtRecord, Split, XrayRecord
from fedthorax.common.data.table import listed


def assign_splits(
    xray: Sequence[XrayRecord], ct: Sequence[CtRecord], fractions: SplitFractions, seed: int
) -> tuple[tuple[XrayRecord, ...], tuple[CtRecord, ...]]:
    """The same records, each with its split; no patient stands on two sides, in both modalities together.

    A given split is kept, and decides for all images of that patient. If every record has one, nothing is drawn, so
    folders with only train/ and valid/ have no test split. The other patients are drawn with ``seed``, independent of
    the order of the records.

    In each modality the drawn patients number the fractions rounded by largest remainder (ties: train, valid, test),
    and then at least 1 for each fraction above 0 if there are that many patients; those with both modalities are
    drawn first and rounded by themselves. Within these numbers the draw is stratified by the patients' findings and CT
    classes, rarest first (K. Sechidis et al., On the Stratification of Multi-label Data, ECML PKDD 2011).

    Raises ValueError naming the patients for whom two different splits were given.
    """
    chosen = _given(xray, ct)
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
    random = np.random.default_rng(seed)
    undecided = [patient for patient in sorted(traits) if patient not in chosen]
    both = {patient: traits[patient] for patient in undecided if len(modalities[patient]) == 2}
    both_places = quotas(len(both), fractions)
    chosen |= _draw(both, both_places, fractions, random)
    for modality in ("xray", "ct"):
        single = {patient: traits[patient] for patient in undecided if modalities[patient] == {modality}}
        places = _less(quotas(len(both) + len(single), fractions), both_places)
        chosen |= _draw(single, places, fractions, random)
    return (
        tuple(replace(record, split=chosen[record.patient]) for record in xray),
        tuple(replace(record, split=chosen[record.patient]) for record in ct),
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


def _given(xray: Sequence[XrayRecord], ct: Sequence[CtRecord]) -> dict[str, Split]:
    given: dict[str, set[Split]] = {}
    records: list[XrayRecord | CtRecord] = [*xray, *ct]
    for record in records:
        if record.split is not None:
            given.setdefault(record.patient, set()).add(record.split)
    torn = sorted(patient for patient, splits in given.items() if len(splits) > 1)
    if torn:
        named = [f"{p} ({' and '.join(split for split in SPLITS if split in given[p])})" for p in torn]
        raise ValueError(
            f"the given split puts {len(torn)} patients on two sides: {listed(named)}; "
            "move all images of a patient, X-rays and CT, to one side"
        )
    return {patient: next(iter(splits)) for patient, splits in given.items()}


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
    patients: dict[str, set[str]], places: dict[Split, int], fractions: SplitFractions, random: np.random.Generator
) -> dict[str, Split]:
    """Iterative stratification with exactly ``places``; ``patients`` holds each patient's traits, sorted by patient."""
    places = dict(places)
    names = list(patients)
    waiting = {names[index]: patients[names[index]] for index in random.permutation(len(names))}
    holders: dict[str, int] = {}
    for traits in waiting.values():
        for trait in traits:
            holders[trait] = holders.get(trait, 0) + 1
    wish = {trait: {split: number * getattr(fractions, split) for split in SPLITS} for trait, number in holders.items()}

    chosen: dict[str, Split] = {}
    while waiting:
        rarest = min((trait for trait in holders if holders[trait] > 0), key=lambda t: (holders[t], t), default=None)
        for patient in [p for p, traits in waiting.items() if rarest is None or rarest in traits]:
            free = [split for split in SPLITS if places[split] > 0]
            wished = wish[rarest] if rarest is not None else places
            split = max(free, key=lambda s: (wished[s], places[s]))
            chosen[patient] = split
            places[split] -= 1
            for trait in waiting.pop(patient):
                holders[trait] -= 1
                wish[trait][split] -= 1
    return chosen
