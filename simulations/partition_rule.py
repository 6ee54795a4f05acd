"""Who goes where: patients to hospitals, evenly, by ratios, skewed by label, or by a column."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedthorax.common.records.table import listed

_DRAWS = 100


@dataclass(frozen=True)
class Subject:
    """A patient as the rules see it. ``findings`` is None without X-rays, ``classes`` is None without CT slices."""

    patient: str
    findings: frozenset[str] | None
    classes: tuple[str, ...] | None


PlacesFor = Callable[[Subject], tuple[int, ...]]
"""The places that can take a patient, in order; at least one."""


def deal(rng: np.random.Generator, subjects: Sequence[Subject], shares: Sequence[float]) -> dict[str, int]:
    """The place of every patient, in the proportions of ``shares``, alike in every stratum.

    Patients are lined up stratum by stratum, in random order within one, and each goes where most are still owed. The
    stratum of an X-ray patient is its rarest finding, that of a CT patient its class.
    """
    weights = np.asarray(shares, dtype=np.float64) / np.sum(shares)
    rarity = Counter(finding for subject in subjects for finding in subject.findings or ())
    order = rng.permutation(len(subjects))
    lined_up = sorted((subjects[index] for index in order), key=lambda subject: _stratum(subject, rarity))
    placed = np.zeros(len(weights))
    place = {}
    for number, subject in enumerate(lined_up, start=1):
        owed = np.where(weights > 0, number * weights - placed, -np.inf)
        # Rounded, so that a tie is a tie on every machine; the first of equals then wins.
        index = int(np.argmax(np.round(owed, 9)))
        placed[index] += 1
        place[subject.patient] = index
    return place


def deal_within(
    rng: np.random.Generator, subjects: Sequence[Subject], shares: Sequence[float], places_for: PlacesFor
) -> dict[str, int]:
    """``deal``, where not every place can take every patient: each kind of patient among those that can."""
    kinds: dict[tuple[int, ...], list[Subject]] = {}
    for subject in subjects:
        kinds.setdefault(places_for(subject), []).append(subject)
    place: dict[str, int] = {}
    for places, members in sorted(kinds.items()):
        place |= deal(rng, members, [share if index in places else 0.0 for index, share in enumerate(shares)])
    return place


def draw_sizes(rng: np.random.Generator, num_places: int, num_patients: int, alpha: float) -> tuple[float, ...]:
    """Quantity skew: shares of the patients from a symmetric Dirichlet distribution, none less than one patient.

    ``ValueError`` when that never happens. After Li et al., Federated Learning on Non-IID Data Silos, ICDE 2022,
    arXiv:2102.02079.
    """
    for _ in range(_DRAWS):
        shares = rng.dirichlet(np.full(num_places, alpha))
        if shares.min() * num_patients >= 1:
            return tuple(float(share) for share in shares)
    raise ValueError(
        f"in {_DRAWS} draws with size_alpha {alpha:g} one of {num_places} hospitals always had less than one of "
        f"{num_patients} patients; use a larger one or fewer hospitals"
    )


def deal_skewed(
    rng: np.random.Generator,
    subjects: Sequence[Subject],
    num_places: int,
    alpha: float,
    places_for: PlacesFor | None = None,
) -> dict[str, int]:
    """Label skew: each group of equal labels is split in proportions drawn from a symmetric Dirichlet distribution.

    The smaller ``alpha``, the fewer hospitals share a group. A group is a CT class, the set of findings of an X-ray
    patient, or both. Draws that leave a hospital without any X-ray or any CT slice, although there are enough
    patients, are drawn again; ``ValueError`` when that never ends. ``places_for`` says which places can take a patient,
    without it all. After Hsu et al., Measuring the Effects of
    Non-Identical Data Distribution for Federated Visual Classification, 2019, arXiv:1909.06335.
    """
    groups: dict[Hashable, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(_signature(subject), []).append(subject)
    places_for = places_for or (lambda subject: tuple(range(num_places)))
    for _ in range(_DRAWS):
        place: dict[str, int] = {}
        for members in groups.values():
            places = places_for(members[0])  # all of a group have images of the same modalities
            shares = rng.dirichlet(np.full(len(places), alpha))
            bounds = np.round(np.cumsum(shares) * len(members)).astype(int)
            for rank, index in enumerate(rng.permutation(len(members))):
                chosen = min(int(np.searchsorted(bounds, rank, side="right")), len(places) - 1)
                place[members[index].patient] = places[chosen]
        if not _left_empty(subjects, place, places_for):
            return place
    raise ValueError(
        f"in {_DRAWS} draws with alpha {alpha:g} one of {num_places} hospitals always stayed without X-rays or without "
        "CT slices; use a larger alpha or fewer hospitals"
    )


def place_by_column(
    values: Mapping[str, Mapping[str, int]], column: str, names: Sequence[str] | None, most: bool = False
) -> dict[str, str]:
    """The hospital of every X-ray patient, from how many of the patient's rows have each value in ``column``.

    With ``most`` a patient with several values goes where most of the images are, of equals to the first by name.
    """
    empty = sorted(patient for patient, found in values.items() if "" in found)
    if empty:
        raise ValueError(f"column {column} is empty for {listed(empty, 3)}; every X-ray needs a hospital")
    torn = sorted(patient for patient, found in values.items() if len(found) > 1)
    if torn and not most:
        raise ValueError(
            f"column {column} puts {listed(torn, 3)} in more than one hospital; a patient belongs to one "
            "(--column-most: the one with most of the images)"
        )
    place = {patient: min(found, key=lambda name: (-found[name], name)) for patient, found in values.items()}
    if names is not None and set(names) != set(place.values()):
        raise ValueError(
            f"column {column} has the values {', '.join(sorted(set(place.values())))}, but the hospitals are "
            f"{', '.join(names)}; give no hospitals, or exactly these"
        )
    return place


def _stratum(subject: Subject, rarity: Mapping[str, int]) -> tuple[str, tuple[int, str], str]:
    """Sorts by modality, then from the rarest finding to none, then by class."""
    modality = f"{subject.findings is not None:d}{subject.classes is not None:d}"
    rarest = min(((rarity[name], name) for name in subject.findings or ()), default=(2**31, ""))
    return modality, rarest, (subject.classes or ("",))[0]


def _signature(subject: Subject) -> Hashable:
    return subject.findings, None if subject.classes is None else subject.classes[0]


def _left_empty(subjects: Sequence[Subject], place: Mapping[str, int], places_for: PlacesFor) -> bool:
    """Whether a place lacks a modality that it can take, and of which there are enough patients for all such places."""
    for members in (
        [subject for subject in subjects if subject.findings is not None],
        [subject for subject in subjects if subject.classes is not None],
    ):
        possible = {index for subject in members for index in places_for(subject)}
        if len(members) >= len(possible) > len({place[subject.patient] for subject in members}):
            return True
    return False
