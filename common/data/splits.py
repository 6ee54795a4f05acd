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

    Patients with X-rays only, CT only, and both are drawn separately. In each group the number of patients a split is
    the fraction of the group rounded by largest remainder (ties: train, valid, test), and then at least 1 for each
    fraction above 0 if the group has that many patients. Within these numbers the draw is stratified by the patients'
    findings and CT classes, rarest first (K. Sechidis et al., On the Stratification of Multi-label Data, ECML 2011).

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
    for group in ({"xray"}, {"ct"}, {"xray", "ct"}):
        open_patients = {p: traits[p] for p in sorted(traits) if p not in chosen and modalities[p] == group}
        chosen |= _draw(open_patients, fractions, random)
    return (
        tuple(replace(record, split=chosen[record.patient]) for record in xray),
        tuple(replace(record, split=chosen[record.patient]) for record in ct),
    )


def quotas(num_patients: int, fractions: SplitFractions) -> dict[Split, int]:
    """Patients a split; they sum to ``num_patients``."""
    share = {split: getattr(fractions, split) for split in SPLITS}
    numbers = {split: int(share[split] * num_patients + 1e-9) for split in SPLITS}
    by_remainder = sorted(SPLITS, key=lambda split: numbers[split] - share[split] * num_patients)
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


def _draw(patients: dict[str, set[str]], fractions: SplitFractions, random: np.random.Generator) -> dict[str, Split]:
    """Iterative stratification under exact quotas; ``patients`` holds each patient's traits, sorted by patient."""
    places = quotas(len(patients), fractions)
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
