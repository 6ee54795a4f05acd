"""A split in which patients, copies and near copies stay together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fedthorax.common.config.data import SplitFractions
from fedthorax.common.hospital.labelled import LabelledImage
from fedthorax.common.records.records import SPLITS, CtRecord, ImageRef, Split, XrayRecord
from fedthorax.common.records.splits import assign_splits


def fixed_splits(
    xray: Sequence[XrayRecord],
    ct: Sequence[CtRecord],
    together: Iterable[Sequence[LabelledImage]],
    fractions: SplitFractions,
    seed: int,
) -> tuple[tuple[XrayRecord, ...], tuple[CtRecord, ...]]:
    """The records on their new sides; whose images are joined by ``together``, a patient or both, share one.

    Records that have a split keep it as far as that goes: a group that stands on two sides goes to train if any of it
    is there, else to valid, so that no image moves from what was trained on into what is scored. Groups without any
    split are drawn as patients are, by ``fractions``.
    """
    patient_of: dict[ImageRef, str] = {ImageRef(record.path): record.patient for record in xray}
    patient_of |= {ImageRef(record.path, record.frame): record.patient for record in ct}
    parents = {patient: patient for patient in patient_of.values()}
    for group in together:
        patients = [patient_of[image.ref] for image in group if image.ref in patient_of]
        for patient in patients[1:]:
            parents[_root(patient, parents)] = _root(patients[0], parents)
    groups = {patient: _root(patient, parents) for patient in parents}
    sides: dict[str, Split] = {}
    records: list[XrayRecord | CtRecord] = [*xray, *ct]
    for record in records:
        if record.split is not None:
            held = sides.get(groups[record.patient], record.split)
            sides[groups[record.patient]] = min(held, record.split, key=SPLITS.index)
    drawn_xray, drawn_ct = assign_splits(
        [replace(record, patient=groups[record.patient], split=sides.get(groups[record.patient])) for record in xray],
        [replace(record, patient=groups[record.patient], split=sides.get(groups[record.patient])) for record in ct],
        fractions,
        seed,
    )
    return (
        tuple(replace(drawn, patient=record.patient) for drawn, record in zip(drawn_xray, xray, strict=True)),
        tuple(replace(drawn, patient=record.patient) for drawn, record in zip(drawn_ct, ct, strict=True)),
    )


def _root(patient: str, parents: dict[str, str]) -> str:
    """The one that stands for all joined with ``patient``; the way to it is shortened for the next question."""
    root = patient
    while parents[root] != root:
        root = parents[root]
    while parents[patient] != root:
        parents[patient], patient = root, parents[patient]
    return root
