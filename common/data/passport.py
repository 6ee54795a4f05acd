"""What a hospital says about its data: counts, no pictures, no patients."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.data.attributes import AGE_BANDS, age_band
from fedthorax.common.data.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.data.pairing import PairingReport
from fedthorax.common.data.records import Attributes, BadFile


def passport(site: SiteImages, labels: LabelsConfig, pairing: PairingReport | None = None) -> dict[str, Any]:
    """JSON-ready; ``pairing`` is null if nothing was paired. Files are named relative to the site's folders."""
    return {
        "splits": {split: _split_counts(images, labels) for split, images in site.splits.items()},
        "modalities": list(site.modalities),
        "skipped": [{"file": _relative(bad, site.folders), "reason": bad.reason} for bad in site.skipped],
        "notes": list(site.notes),
        "check": [
            {"code": issue.code, "level": issue.level, "modality": issue.modality, "count": issue.count}
            for issue in site.issues
        ],
        "pairing": None if pairing is None else asdict(pairing),
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


def _split_counts(images: SplitImages, labels: LabelsConfig) -> dict[str, Any]:
    findings = {
        name: {
            "present": int(np.sum(column == 1)),
            "absent": int(np.sum(column == 0)),
            "unknown": int(np.sum(np.isnan(column))),
        }
        for name, column in zip(labels.findings, images.xray.targets.T, strict=True)
    }
    classes = {name: int(np.sum(images.ct.targets == index)) for index, name in enumerate(labels.cancer_classes)}
    return {
        "xray": len(images.xray),
        "ct": len(images.ct),
        "xray_patients": len(set(images.xray.patients)),
        "ct_patients": len(set(images.ct.patients)),
        "findings": findings,
        "cancer_classes": classes,
        "attributes": {"xray": _attribute_counts(images.xray), "ct": _attribute_counts(images.ct)},
    }


def _attribute_counts(images: ImageSet) -> dict[str, dict[str, int]]:
    """Images by sex, age and view; the scanner is left out, because a rare one names the hospital's department."""
    known = images.attributes or (Attributes(),) * len(images)
    groups: dict[str, tuple[Sequence[str], list[str | None]]] = {
        "sex": (("F", "M"), [found.sex for found in known]),
        "age_years": (AGE_BANDS, [None if found.age_years is None else age_band(found.age_years) for found in known]),
        "view": (("PA", "AP", "LL"), [found.view for found in known]),
    }
    return {
        name: {**{value: values.count(value) for value in usual}, "unknown": sum(v not in usual for v in values)}
        for name, (usual, values) in groups.items()
    }


def _relative(bad: BadFile, folders: Sequence[Path]) -> str:
    """Never an absolute path: how a hospital's disks are arranged is nobody's business outside."""
    mark = "" if bad.frame is None else f"#{bad.frame}"
    for folder in folders:
        if bad.path.is_relative_to(folder):
            return bad.path.relative_to(folder).as_posix() + mark
    return bad.path.name + mark
