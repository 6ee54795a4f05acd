"""What a hospital says of itself beside its statistics: sizes by split, files left out, what the check finds."""

import hashlib
from collections import Counter

import numpy as np

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.issues.issue import Issue
from fedthorax.common.metrics.suppression import is_small, rounded, shown_total
from fedthorax.common.pairing import PairingReport, Uses
from fedthorax.common.record.passport import (
    Found,
    Modality,
    PairingTold,
    Passport,
    Skipped,
    SplitCounts,
    UsesTold,
)

MODALITIES: tuple[Modality, ...] = ("xray", "ct")
EXACT = PrivacyConfig(smallest_count=1, round_to=1)


def passport(
    site: SiteImages,
    pairing: PairingReport | None = None,
    policy: PrivacyConfig = EXACT,
    file_names: bool = True,
) -> Passport:
    """``pairing`` is null if nothing was paired.

    Counts are rounded and hidden (null) as ``policy`` says, except ``pairing.pairs``: the weight of the hospital's
    updates says as much. Files are named relative to the site's folders; without ``file_names`` neither files nor
    anything that stands in them is quoted, only how many there are of each fault.
    """
    hidden = _hidden(site, policy)
    skipped = [
        Skipped(fault=bad.fault, count=1, file=bad.ref.below(site.folders), reason=bad.reason) for bad in site.skipped
    ]
    if not file_names:
        faults = Counter(bad.fault for bad in site.skipped)
        skipped = [Skipped(fault=fault, count=number) for fault, number in sorted(faults.items())]
    return Passport(
        splits={split: _sizes(images, hidden, policy) for split, images in site.splits.items()},
        modalities=tuple(name for name in MODALITIES if name in site.modalities),
        skipped=tuple(skipped),
        notes=site.notes if file_names else (),
        notes_kept=0 if file_names else len(site.notes),
        check=tuple(_found(issue, policy) for issue in site.issues),
        pairing=None if pairing is None else _pairing(pairing, hidden, policy),
    )


def fingerprint(site: SiteImages) -> str:
    """SHA-256 over pixels, targets and splits, in no particular order of files: changes when the data change."""
    rows = sorted(
        f"{split} {modality} {digest} {np.asarray(target).tolist()}"
        for split, images in site.splits.items()
        for modality, part in (("xray", images.xray), ("ct", images.ct))
        for digest, target in zip(part.digests, part.targets, strict=True)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _hidden(site: SiteImages, policy: PrivacyConfig) -> set[Modality]:
    """The modalities of which no split's size may be told, because one is small.

    The total stands in the statistics, and how many images are trained on follows from the pairs. Beside these two no
    size of the other splits can be told without the small one. Images and patients are hidden alike: of a patient with
    one image they are the same number.
    """
    return {
        modality
        for modality in MODALITIES
        if any(is_small(len(set(images.of(modality).patients)), policy) for images in site.splits.values())
    }


def _sizes(images: SplitImages, hidden: set[Modality], policy: PrivacyConfig) -> SplitCounts:
    told: dict[str, int | None] = {}
    for modality in MODALITIES:
        patients = images.of(modality).patients
        for name, number in ((modality, len(patients)), (f"{modality}_patients", len(set(patients)))):
            told[name] = None if modality in hidden else rounded(number, policy)
    return SplitCounts(**told)


def _found(issue: Issue, policy: PrivacyConfig) -> Found:
    count = shown_total(issue.count, issue.count, policy)
    return Found(code=issue.code, level=issue.level, modality=issue.modality, count=count)


def _pairing(report: PairingReport, hidden: set[Modality], policy: PrivacyConfig) -> PairingTold:
    def uses(modality: Modality, told: Uses) -> UsesTold:
        if modality in hidden:  # the pairs by the uses are the images
            return UsesTold(min=None, mean=None, max=None)
        mean = told.mean if told.mean is None or policy == EXACT else round(told.mean, 1)
        return UsesTold(min=told.min, mean=mean, max=told.max)

    same = report.same_patient_pairs
    return PairingTold(
        pairs=report.pairs,
        xray_uses=uses("xray", report.xray_uses),
        ct_uses=uses("ct", report.ct_uses),
        same_patient_pairs=None if same is None else shown_total(same, same, policy),
    )
