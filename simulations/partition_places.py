"""Where every patient of a partition goes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.ground.wording import number_of
from fedthorax.simulations.hospital_names import hospital_names
from fedthorax.simulations.partition_input import CtFolder, XrayFolder
from fedthorax.simulations.partition_plan import PartitionPlan
from fedthorax.simulations.partition_rule import Subject, deal, deal_skewed, deal_within, draw_sizes, place_by_column
from fedthorax.simulations.site_limits import SiteLimits

CENTRAL = {"valid": "central/valid", "test": "central/test"}


def places(
    plan: PartitionPlan, xray: XrayFolder, ct: CtFolder, central_ct: Mapping[str, CtFolder], tested: frozenset[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The site of every patient, and the names of all sites in order. ``tested`` are the patients of ``test_list``."""
    subjects = _subjects(xray, ct)
    place = _central_patients(subjects, central_ct) | dict.fromkeys(tested, CENTRAL["test"])
    shares = (plan.holdout_valid, plan.holdout_test, 1 - plan.holdout_valid - plan.holdout_test)
    if sum(shares[:2]) > 0:
        free = [s for s in subjects if s.patient not in place]
        held = {"holdout": [s for s in free if s.findings is not None]}
        if not central_ct:
            held["holdout ct"] = [s for s in free if s.findings is None]
        for purpose, patients in held.items():
            for patient, index in deal(_stream(plan, purpose), patients, shares).items():
                if index < 2:
                    place[patient] = list(CENTRAL.values())[index]
    rest = [subject for subject in subjects if subject.patient not in place]

    if plan.column is not None:
        hospitals, by_column = _column_places(plan, plan.column, xray, {s.patient for s in rest})
        place |= by_column
        rest = [subject for subject in rest if subject.patient not in place]
    else:
        hospitals = hospital_names(_number(plan))
    plan.limits.check(hospitals, xray.findings)
    _require_modalities(plan.limits, subjects, place)

    def places_for(subject: Subject) -> tuple[int, ...]:
        return _places_for(plan.limits, hospitals, subject)

    if plan.alpha is not None:
        dealt = deal_skewed(_stream(plan, "dirichlet"), rest, len(hospitals), plan.alpha, places_for)
    else:
        ratios = plan.sizes if plan.sizes is not None else [1.0] * len(hospitals)
        if plan.size_alpha is not None:
            ratios = draw_sizes(_stream(plan, "quantity"), len(hospitals), len(rest), plan.size_alpha)
        if len(ratios) != len(hospitals):
            given = number_of(len(ratios), "ratio")
            raise ValueError(f"sizes has {given}, but there are {len(hospitals)} hospitals; give one each")
        dealt = deal_within(_stream(plan, "hospitals"), rest, ratios, places_for)
    place |= {patient: hospitals[index] for patient, index in dealt.items()}
    has_central = bool(central_ct) or bool(tested) or sum(shares[:2]) > 0
    return place, (*hospitals, *(CENTRAL.values() if has_central else ()))


def _modalities(subject: Subject) -> tuple[str, ...]:
    return ("xray",) * (subject.findings is not None) + ("ct",) * (subject.classes is not None)


def _places_for(limits: SiteLimits, hospitals: Sequence[str], subject: Subject) -> tuple[int, ...]:
    places = limits.places(hospitals, _modalities(subject))
    if not places:
        raise ValueError(
            f"patient {subject.patient} has X-rays and CT slices, but without leaves no hospital that has both; leave "
            "both at one hospital"
        )
    return places


def _require_modalities(limits: SiteLimits, subjects: Iterable[Subject], place: Mapping[str, str]) -> None:
    """Raise ValueError where a column puts images at a hospital that is not to have any such."""
    for subject in subjects:
        name = place.get(subject.patient, "")
        for modality in _modalities(subject):
            if not limits.has(name, modality):
                raise ValueError(
                    f"the column puts patient {subject.patient} with {modality} at {name}, which is to be without; "
                    "leave one of the two out"
                )


def _number(plan: PartitionPlan) -> int | Sequence[str]:
    if plan.hospitals is not None:
        return plan.hospitals
    return len(plan.sizes) if plan.sizes is not None else 3


def _column_places(
    plan: PartitionPlan, column: str, xray: XrayFolder, patients: set[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    if column not in xray.columns:
        raise ValueError(f"the X-ray labels have no column {column!r}; they have {', '.join(xray.columns)}")
    values: dict[str, Counter[str]] = {}
    for image in xray.images:
        values.setdefault(image.patient, Counter())[image.row[column].strip()] += 1
    names = None if plan.hospitals is None or isinstance(plan.hospitals, int) else tuple(plan.hospitals)
    place = place_by_column(values, column, names, plan.column_most)
    found = names if names is not None else tuple(sorted(set(place.values())))
    if isinstance(plan.hospitals, int) and plan.hospitals != len(found):
        raise ValueError(
            f"column {column} has {len(found)} values ({', '.join(found[:5])} …), but hospitals is {plan.hospitals}"
        )
    return hospital_names(found), {patient: name for patient, name in place.items() if patient in patients}


def _subjects(xray: XrayFolder, ct: CtFolder) -> list[Subject]:
    """All patients, sorted by id, so that the draw does not depend on the order of rows and files."""
    findings: dict[str, set[str]] = {}
    for image in xray.images:
        present = findings.setdefault(image.patient, set())
        present.update(name for name in xray.findings if image.row[name] == "1")
    classes: dict[str, list[str]] = {}
    for slice_ in ct.images:
        classes.setdefault(slice_.patient, []).append(slice_.cancer_class)
    return [
        Subject(
            patient,
            frozenset(findings[patient]) if patient in findings else None,
            tuple(name for name, _ in Counter(sorted(classes[patient])).most_common()) if patient in classes else None,
        )
        for patient in sorted({*findings, *classes})
    ]


def _central_patients(subjects: Iterable[Subject], central_ct: Mapping[str, CtFolder]) -> dict[str, str]:
    """Patients who must go to the server, because their CT slices were given for it."""
    split_of: dict[str, str] = {}
    for split, folder in central_ct.items():
        for slice_ in folder.images:
            if split_of.setdefault(slice_.patient, split) != split:
                raise ValueError(f"patient {slice_.patient} is in both ct_valid and ct_test; a patient belongs to one")
    place = {}
    for subject in subjects:
        if subject.patient in split_of:
            place[subject.patient] = CENTRAL[split_of[subject.patient]]
    return place


def _stream(plan: PartitionPlan, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(plan.seed, "partition", purpose))
