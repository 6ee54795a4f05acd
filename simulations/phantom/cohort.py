"""Who the patients of a hospital are: modalities, findings, tumours, how many images of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.simulations.phantom.chest import FINDINGS
from fedthorax.simulations.phantom.thorax import CANCER_CLASSES

# What tends to occur together. Rows and columns follow FINDINGS: a failing heart makes fluid, fluid compresses lung,
# air in the pleural space leaves less room for anything else.
_CORRELATION = np.array(
    [
        [1.00, 0.40, -0.15, -0.05, 0.05, 0.20],
        [0.40, 1.00, -0.10, 0.05, 0.25, 0.35],
        [-0.15, -0.10, 1.00, 0.00, -0.10, 0.10],
        [-0.05, 0.05, 0.00, 1.00, 0.05, 0.00],
        [0.05, 0.25, -0.10, 0.05, 1.00, 0.15],
        [0.20, 0.35, 0.10, 0.00, 0.15, 1.00],
    ]
)


@dataclass(frozen=True)
class CaseMix:
    """``prevalence`` follows FINDINGS, shares of X-ray patients; ``cancer`` follows CANCER_CLASSES and sums to 1."""

    size: float
    prevalence: tuple[float, ...]
    cancer: tuple[float, ...]


# No two hospitals alike: a large cardiac centre, a small clinic, a trauma and infection department, an oncology.
CASE_MIXES = (
    CaseMix(1.35, (0.34, 0.33, 0.14, 0.20, 0.18, 0.22), (0.34, 0.16, 0.28, 0.22)),
    CaseMix(0.65, (0.20, 0.22, 0.18, 0.30, 0.24, 0.18), (0.20, 0.26, 0.24, 0.30)),
    CaseMix(1.00, (0.18, 0.26, 0.30, 0.18, 0.34, 0.28), (0.28, 0.18, 0.34, 0.20)),
    CaseMix(0.85, (0.16, 0.30, 0.16, 0.35, 0.20, 0.26), (0.24, 0.30, 0.16, 0.30)),
)
CENTRAL_MIX = CaseMix(1.00, (0.24, 0.28, 0.22, 0.25, 0.25, 0.25), (0.27, 0.22, 0.27, 0.24))


@dataclass(frozen=True)
class Patient:
    """``findings`` is None without X-rays, ``cancer_class`` is None without CT; a patient has at least one of them."""

    identifier: str
    age: int
    female: bool
    num_xrays: int
    num_slices: int
    findings: frozenset[str] | None
    cancer_class: str | None


def mix_of(index: int) -> CaseMix:
    """The case mix of the hospital at this place in the list; mixes repeat after the last."""
    return CASE_MIXES[index % len(CASE_MIXES)]


def draw_cohort(
    rng: np.random.Generator, prefix: str, num_patients: int, mix: CaseMix, first: int = 1
) -> tuple[Patient, ...]:
    """Patients ``prefix-0001`` … of whom about half have both modalities.

    The counts of findings and classes follow the case mix as closely as whole patients can, so that a small hospital
    has every finding where it has patients enough.
    """
    has_xray, has_ct = _modalities(rng, num_patients)
    classes = _draw_classes(rng, int(has_ct.sum()), mix.cancer)
    class_of: dict[int, str] = dict(zip(np.flatnonzero(has_ct).tolist(), classes, strict=True))
    xray_rows = np.flatnonzero(has_xray).tolist()
    tumours = np.array([class_of.get(row, "normal") != "normal" for row in xray_rows], dtype=bool)
    findings_of = dict(zip(xray_rows, _draw_findings(rng, tumours, mix.prevalence), strict=True))
    patients = []
    for row in range(num_patients):
        patients.append(
            Patient(
                identifier=f"{prefix}-{first + row:04d}",
                age=int(np.clip(rng.normal(66 if class_of.get(row, "normal") != "normal" else 55, 14), 18, 92)),
                female=bool(rng.random() < 0.46),
                num_xrays=int(rng.choice([1, 2, 3], p=[0.3, 0.35, 0.35])) if row in findings_of else 0,
                num_slices=int(rng.choice([1, 2, 3, 4], p=[0.1, 0.3, 0.35, 0.25])) if row in class_of else 0,
                findings=findings_of.get(row),
                cancer_class=class_of.get(row),
            )
        )
    return tuple(patients)


def largest_remainder(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in the proportions of ``shares`` that sum to ``total``."""
    exact = np.asarray(shares, dtype=np.float64) / np.sum(shares) * total
    counts = np.floor(exact).astype(int)
    # Stable sort: of equal remainders the first wins, on every machine.
    for index in np.argsort(-(exact - counts), kind="stable")[: total - int(counts.sum())]:
        counts[index] += 1
    return [int(count) for count in counts]


def _modalities(rng: np.random.Generator, num_patients: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    both, only_xray, _ = largest_remainder(num_patients, (0.50, 0.35, 0.15))
    order = rng.permutation(num_patients)
    has_xray, has_ct = np.zeros(num_patients, dtype=bool), np.ones(num_patients, dtype=bool)
    has_xray[order[: both + only_xray]] = True
    has_ct[order[both : both + only_xray]] = False
    return has_xray, has_ct


def _draw_classes(rng: np.random.Generator, count: int, shares: Sequence[float]) -> list[str]:
    counts = largest_remainder(count, shares)
    drawn = [name for name, number in zip(CANCER_CLASSES, counts, strict=True) for _ in range(number)]
    return [drawn[index] for index in rng.permutation(count)]


def _draw_findings(
    rng: np.random.Generator, tumours: NDArray[np.bool_], prevalence: Sequence[float]
) -> list[frozenset[str]]:
    """A patient has a finding when its latent value is among the highest; correlated values make co-occurrence."""
    count = len(tumours)
    latent = rng.multivariate_normal(np.zeros(len(FINDINGS)), _CORRELATION, size=count, method="cholesky")
    # A lung tumour is often seen on the X-ray as well.
    latent[:, FINDINGS.index("Nodule")] += 0.8 * tumours
    present = np.zeros((count, len(FINDINGS)), dtype=bool)
    for column, share in enumerate(prevalence):
        number = min(count, max(1, round(share * count)))
        present[np.argsort(-latent[:, column], kind="stable")[:number], column] = True
    return [frozenset(name for name, here in zip(FINDINGS, row, strict=True) if here) for row in present]
