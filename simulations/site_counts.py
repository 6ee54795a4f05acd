"""What every site got, counted: how much, which findings, which classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FindingCount:
    """X-rays by their label for one finding."""

    present: int
    absent: int
    unknown: int


@dataclass(frozen=True)
class SiteCounts:
    """Images and patients of one hospital, or of one split of the central folder."""

    patients: int
    patients_with_both: int
    xray_patients: int
    xrays: int
    ct_patients: int
    ct_slices: int
    findings: Mapping[str, FindingCount]
    cancer_classes: Mapping[str, int]


def count_site(
    xrays: Iterable[tuple[str, Mapping[str, str]]],
    slices: Iterable[tuple[str, str]],
    findings: Sequence[str],
    cancer_classes: Sequence[str],
) -> SiteCounts:
    """Counts from ``(patient, {finding: "1", "0" or ""})`` of every X-ray and ``(patient, class)`` of every slice."""
    xrays, slices = list(xrays), list(slices)
    xray_patients = {patient for patient, _ in xrays}
    ct_patients = {patient for patient, _ in slices}
    count_by_finding = {}
    for finding in findings:
        values = [labels[finding] for _, labels in xrays]
        present, absent = values.count("1"), values.count("0")
        count_by_finding[finding] = FindingCount(present, absent, len(values) - present - absent)
    return SiteCounts(
        patients=len(xray_patients | ct_patients),
        patients_with_both=len(xray_patients & ct_patients),
        xray_patients=len(xray_patients),
        xrays=len(xrays),
        ct_patients=len(ct_patients),
        ct_slices=len(slices),
        findings=count_by_finding,
        cancer_classes={name: sum(cancer == name for _, cancer in slices) for name in cancer_classes},
    )
