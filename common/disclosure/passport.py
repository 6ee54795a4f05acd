"""What a hospital says about its data: counts, no pictures, no patients."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.issues.issue import Issue
from fedthorax.common.metrics.suppression import Count, is_small, rounded, shown_counts, shown_total
from fedthorax.common.pairing import PairingReport, Uses
from fedthorax.common.records.attributes import AGE_BANDS, age_band
from fedthorax.common.records.records import Attributes, BadFile, Fault

EXACT = PrivacyConfig(smallest_count=1, round_to=1)
_OTHER = "other"  # scanners of so few patients that their names would be a statement about someone

_FAULTS: dict[Fault, str] = {
    "missing": "do not exist",
    "broken_link": "are links to files that do not exist",
    "permission": "may not be read",
    "disk": "cannot be read from the disk",
    "empty": "are empty",
    "truncated": "are truncated or damaged",
    "not_an_image": "are no images",
    "unsupported": "are images of a kind that is not read",
    "other_modality": "are of another modality",
    "other_scale": "are images of a kind that is not read",
    "not_used": "are no chest radiographs and no axial chest CT slices",
    "other": "cannot be used",
}

# Notes are for the hospital: they name files and quote cells. These sentences stand for those that matter outside.
_NOTES_OUTSIDE = (
    (r"no patient is known for .* X-rays \(", "no patient is known for some of the X-rays: each counts as a patient"),
    (r"no patient is known for .* CT slices \(", "no patient is known for some CT slices: each counts as a patient"),
    (r"data\.ct_slices passes over ", "data.ct_slices passes over some of the CT slices"),
)


def passport(
    site: SiteImages,
    labels: LabelsConfig,
    pairing: PairingReport | None = None,
    policy: PrivacyConfig = EXACT,
    file_names: bool = True,
) -> dict[str, Any]:
    """JSON-ready; ``pairing`` is null if nothing was paired.

    Counts are rounded and hidden (null) as ``policy`` says, except ``pairing.pairs``: the weight of the hospital's
    updates says as much. Files are named relative to the site's folders; without ``file_names`` neither files nor
    anything that stands in them is quoted, only how many there are of each fault.
    """
    return {
        "splits": {split: _split_counts(images, labels, policy) for split, images in site.splits.items()},
        "modalities": list(site.modalities),
        "skipped": _skipped(site) if file_names else _skipped_by_fault(site.skipped),
        "notes": list(site.notes) if file_names else _notes_outside(site.notes),
        "check": [_issue(issue, policy) for issue in site.issues],
        "pairing": None if pairing is None else _pairing(pairing, policy),
    }


def fingerprint(site: SiteImages) -> str:
    """SHA-256 over pixels, targets and splits, in no particular order of files: changes when the data change."""
    rows = sorted(
        f"{split} {modality} {digest} {np.asarray(target).tolist()}"
        for split, images in site.splits.items()
        for modality, part in (("xray", images.xray), ("ct", images.ct))
        for digest, target in zip(part.digests, part.targets, strict=True)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _split_counts(images: SplitImages, labels: LabelsConfig, policy: PrivacyConfig) -> dict[str, Any]:
    xray, ct = images.xray, images.ct
    classes = [labels.cancer_classes[index] if index >= 0 else "" for index in ct.targets]
    findings = {}
    for name, column in zip(labels.findings, xray.targets.T, strict=True):
        cells = ["unknown" if np.isnan(value) else "present" if value == 1 else "absent" for value in column]
        findings[name] = _table(cells, ("present", "absent", "unknown"), xray.patients, policy)
    of_classes = _table(classes, (*labels.cancer_classes, ""), ct.patients, policy)
    xray_patients, ct_patients = len(set(xray.patients)), len(set(ct.patients))
    return {
        "xray": shown_total(len(xray), xray_patients, policy),
        "ct": shown_total(len(ct), ct_patients, policy),
        "xray_patients": shown_total(xray_patients, xray_patients, policy),
        "ct_patients": shown_total(ct_patients, ct_patients, policy),
        "findings": findings,
        "cancer_classes": {name: of_classes[name] for name in labels.cancer_classes},
        "attributes": {"xray": _attribute_counts(xray, policy), "ct": _attribute_counts(ct, policy)},
    }


def _attribute_counts(images: ImageSet, policy: PrivacyConfig) -> dict[str, dict[str, int | None]]:
    """Images by sex, age, view and scanner."""
    known = images.attributes or (Attributes(),) * len(images)
    groups: dict[str, tuple[Sequence[str], list[str | None]]] = {
        "sex": (("F", "M"), [found.sex for found in known]),
        "age_years": (AGE_BANDS, [None if found.age_years is None else age_band(found.age_years) for found in known]),
        "view": (("PA", "AP", "LL"), [found.view for found in known]),
    }
    counted = {}
    for name, (usual, values) in groups.items():
        cells = [value if value in usual else "unknown" for value in values]
        counted[name] = _table([str(cell) for cell in cells], (*usual, "unknown"), images.patients, policy)
    scanners = [found.scanner or "unknown" for found in known]
    counts = _counts(scanners, images.patients)
    rare = {name for name, count in counts.items() if is_small(count.patients, policy)} - {"unknown"}
    scanners = [_OTHER if name in rare else name for name in scanners]
    others = (_OTHER,) if rare else ()
    names = (*sorted(set(scanners) - {_OTHER, "unknown"}), *others, "unknown")
    counted["scanner"] = _table(scanners, names, images.patients, policy)
    return counted


def _table(
    cells: Sequence[str], names: Sequence[str], patients: Sequence[str], policy: PrivacyConfig
) -> dict[str, int | None]:
    counts = _counts(cells, patients)
    return shown_counts({name: counts.get(name, Count(0, 0)) for name in names}, len(set(patients)), policy)


def _counts(cells: Sequence[str], patients: Sequence[str]) -> dict[str, Count]:
    by_patient = Counter(cell for cell, _ in set(zip(cells, patients, strict=True)))
    return {cell: Count(number, by_patient[cell]) for cell, number in Counter(cells).items()}


def _issue(issue: Issue, policy: PrivacyConfig) -> dict[str, Any]:
    count = shown_total(issue.count, issue.count, policy)
    return {"code": issue.code, "level": issue.level, "modality": issue.modality, "count": count}


def _pairing(report: PairingReport, policy: PrivacyConfig) -> dict[str, Any]:
    if policy == EXACT:
        return asdict(report)
    same = report.same_patient_pairs

    def coarse(uses: Uses) -> dict[str, Any]:
        return asdict(uses) | {"mean": None if uses.mean is None else round(uses.mean, 1)}

    return {
        "pairs": report.pairs,
        "xray_uses": coarse(report.xray_uses),
        "ct_uses": coarse(report.ct_uses),
        "same_patient_pairs": None if same is None or is_small(same, policy) else rounded(same, policy),
    }


def _skipped(site: SiteImages) -> list[dict[str, Any]]:
    return [{"file": _relative(bad, site.folders), "reason": bad.reason, "count": 1} for bad in site.skipped]


def _skipped_by_fault(skipped: Sequence[BadFile]) -> list[dict[str, Any]]:
    counts = Counter(bad.fault for bad in skipped)
    return [
        {"file": f"{number} {'file' if number == 1 else 'files'}", "reason": _FAULTS[fault], "count": number}
        for fault, number in sorted(counts.items())
    ]


def _notes_outside(notes: Sequence[str]) -> list[str]:
    told = [words for pattern, words in _NOTES_OUTSIDE if any(re.match(pattern, note) for note in notes)]
    kept = sum(not any(re.match(pattern, note) for pattern, _ in _NOTES_OUTSIDE) for note in notes)
    if kept:
        what = "remark on its folders stays" if kept == 1 else "remarks on its folders stay"
        told.append(f"{kept} {what} at the hospital, where `fedthorax site check` shows them")
    return told


def _relative(bad: BadFile, folders: Sequence[Path]) -> str:
    """Never an absolute path: how a hospital's disks are arranged is nobody's business outside."""
    mark = "" if bad.frame is None else f"#{bad.frame}"
    for folder in folders:
        if bad.path.is_relative_to(folder):
            return bad.path.relative_to(folder).as_posix() + mark
    return bad.path.name + mark
