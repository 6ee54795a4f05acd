"""What a hospital counts when it is asked for statistics; nothing here leaves before the policy has been applied."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.counts import finding_pairs, num_patients
from fedthorax.common.disclosure.distance import halves_distance, image_histograms, mean_histogram
from fedthorax.common.disclosure.duplicates import coarse_hashes, read_key, tokens
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import ImageSet, SiteImages
from fedthorax.common.messages.statistics import (
    OTHER,
    SEXES,
    SIZE_BANDS,
    UNKNOWN,
    Modality,
    SiteStatistics,
    Table,
    Tokens,
)
from fedthorax.common.metrics.suppression import Count, is_small, shown_counts, shown_total
from fedthorax.common.pixels.original_size import original_sizes
from fedthorax.common.records.attributes import AGE_BANDS, age_band
from fedthorax.common.records.records import SPLITS, Attributes

NO_KEY = "this hospital has no duplicate key"
BAD_KEY = "this hospital's duplicate key cannot be used: it is missing, malformed or open to other users there"
_SIZE_LIMITS = (256, 512, 1024, 2048)


def site_statistics(
    site: SiteImages,
    labels: LabelsConfig,
    policy: PrivacyConfig,
    seed: int,
    nonce: bytes,
    duplicate_key: Path | None = None,
) -> SiteStatistics:
    """Statistics of all splits together, as ``policy`` lets them leave.

    ``nonce`` is the server's number of this query, ``duplicate_key`` the file of the key that the hospitals share.
    """
    xray = [site.splits[split].xray for split in SPLITS]
    ct = [site.splits[split].ct for split in SPLITS]
    targets = np.concatenate([part.targets for part in xray]).astype(np.float32, copy=False)
    classes = np.concatenate([part.targets for part in ct])
    xray_patients, ct_patients = _numbered(xray), _numbered(ct)
    findings = {
        name: _table(
            [UNKNOWN if np.isnan(value) else "present" if value == 1 else "absent" for value in targets[:, column]],
            ("present", "absent", UNKNOWN),
            xray_patients,
            policy,
            "label of this finding",
        )
        for column, name in enumerate(labels.findings)
    }
    class_names = [labels.cancer_classes[index] if index >= 0 else UNKNOWN for index in classes]
    hashes, no_hashes = _hashes(xray, ct, nonce, duplicate_key)
    return SiteStatistics(
        policy=policy,
        xray=_modality(xray, xray_patients, policy, derive_seed(seed, "halves", site.name, "xray")),
        ct=_modality(ct, ct_patients, policy, derive_seed(seed, "halves", site.name, "ct")),
        findings=findings,
        cancer_classes=_table(class_names, (*labels.cancer_classes, UNKNOWN), ct_patients, policy, "class"),
        co_occurrence=finding_pairs(targets, xray_patients, labels.findings, findings, policy),
        duplicates=hashes,
        duplicates_reason=no_hashes,
    )


def _hashes(
    xray: Sequence[ImageSet], ct: Sequence[ImageSet], nonce: bytes, duplicate_key: Path | None
) -> tuple[Tokens | None, str | None]:
    """Hashes, or the reason why there are none. It names no file: how a hospital's disks look is nobody's business."""
    if duplicate_key is None:
        return None, NO_KEY
    try:
        key = read_key(duplicate_key)
    except (OSError, ValueError):
        return None, BAD_KEY
    return tokens(
        key,
        nonce,
        {
            "xray": [digest for part in xray for digest in part.digests],
            "ct": [digest for part in ct for digest in part.digests],
            "xray_alike": [digest for part in xray for digest in coarse_hashes(part.images)],
            "ct_alike": [digest for part in ct for digest in coarse_hashes(part.images)],
        },
    ), None


def _modality(parts: Sequence[ImageSet], patients: NDArray[np.int64], policy: PrivacyConfig, seed: int) -> Modality:
    attributes = [known for part in parts for known in part.attributes or (Attributes(),) * len(part)]
    paths = [path for part in parts for path in part.paths]
    sides = [None if size is None else min(size) for size in original_sizes(paths)]
    total = num_patients(patients, np.ones(len(patients), bool))

    def fixed(value: Callable[[Attributes], str | None], names: Sequence[str], what: str) -> Table:
        cells = [value(known) or UNKNOWN for known in attributes]
        return _table(cells, (*names, UNKNOWN), patients, policy, what)

    def found(value: Callable[[Attributes], str | None], what: str) -> Table:
        cells = _folded([value(known) or UNKNOWN for known in attributes], patients, policy)
        return _table(cells, (*sorted(set(cells) - {OTHER, UNKNOWN}), OTHER, UNKNOWN), patients, policy, what)

    intensity, distance = None, None
    reasons: dict[str, str] = {}
    least = policy.smallest_count
    if total and total >= least:
        histograms = np.concatenate([image_histograms(part.images) for part in parts])
        intensity = mean_histogram(histograms)
        if total >= 2 * least and total > 1:
            distance = halves_distance(histograms, patients, seed)
    if total and is_small(total, policy):
        reasons |= dict.fromkeys(("images", "patients"), f"fewer than {least} patients")
    if intensity is None:
        reasons["intensity"] = f"fewer than {least} patients" if total else "no images"
    if distance is None:
        reasons["halves_distance"] = f"fewer than {max(2 * least, 2)} patients" if total else "no images"
    return Modality(
        images=shown_total(len(patients), total, policy),
        patients=shown_total(total, total, policy),
        sex=fixed(lambda known: known.sex, SEXES, "sex"),
        age=fixed(lambda known: None if known.age_years is None else age_band(known.age_years), AGE_BANDS, "age"),
        shorter_side=_table(
            [UNKNOWN if side is None else SIZE_BANDS[sum(side >= limit for limit in _SIZE_LIMITS)] for side in sides],
            (*SIZE_BANDS, UNKNOWN),
            patients,
            policy,
            "size",
        ),
        view=found(lambda known: known.view, "view"),
        scanner=found(lambda known: known.scanner, "scanner"),
        intensity=intensity,
        halves_distance=distance,
        reasons=reasons,
    )


def _table(
    cells: Sequence[str], names: Sequence[str], patients: NDArray[np.int64], policy: PrivacyConfig, what: str
) -> Table:
    """``cells`` is the cell of each image; every name of ``names`` gets one, other cells are a defect."""
    counts = _counts(cells, patients)
    everyone = num_patients(patients, np.ones(len(patients), bool))
    shown = shown_counts({name: counts.get(name, Count(0, 0)) for name in names}, everyone, policy)
    reason = None
    if None in shown.values():
        reason = (
            f"fewer than {policy.smallest_count} patients have this {what}, or a count of so few could be computed "
            "from this one"
        )
    return Table(cells=shown, reason=reason)


def _counts(cells: Sequence[str], patients: NDArray[np.int64]) -> Mapping[str, Count]:
    images = Counter(cells)
    by_patient = Counter(cell for cell, _ in set(zip(cells, patients.tolist(), strict=True)))
    return {cell: Count(number, by_patient[cell]) for cell, number in images.items()}


def _folded(cells: Sequence[str], patients: NDArray[np.int64], policy: PrivacyConfig) -> list[str]:
    """Names of few patients become ``OTHER``: that such a name occurs is already a statement about someone."""
    rare = {name for name, count in _counts(cells, patients).items() if is_small(count.patients, policy)}
    return [OTHER if name in rare - {UNKNOWN} else name for name in cells]


def _numbered(parts: Sequence[ImageSet]) -> NDArray[np.int64]:
    """A number for each image's patient."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for part in parts for name in part.patients], np.int64)
