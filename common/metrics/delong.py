"""DeLong's standard error of ROC-AUC: the test for comparing two models on the same patients, finding by finding.

Images of one patient are not independent, so their structural components are summed by patient first; with one image a
patient this is DeLong's own estimate.

DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988), 837-845. Several images a patient: Obuchowski, Biometrics 53
(1997), 567-578. Correction for many comparisons: Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from fedthorax.common.metrics.resampling import LEVEL


@dataclass(frozen=True)
class RocAucDifference:
    """``value`` is first minus second. ``p_value`` is two-sided, of the hypothesis that they are equal; it is 1 where
    the two rank all images alike."""

    value: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float


def delong_difference(
    present: NDArray[np.bool_], first: NDArray[np.floating], second: NDArray[np.floating], patients: Sequence[str]
) -> RocAucDifference | None:
    """Two models' scores of the same images; None where an area or its error is undefined."""
    if present.all() or not present.any():
        return None
    areas, covariance = areas_with_covariance(present, np.stack([first, second]).astype(np.float64), patients)
    if covariance is None:
        return None
    value = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:  # the two rank alike, or both without any chance, which tells nothing of other patients
        return RocAucDifference(0.0, 0.0, (0.0, 0.0), 1.0) if abs(value) < 1e-12 else None
    half = float(norm.ppf((1 + LEVEL) / 2)) * error
    return RocAucDifference(value, error, (value - half, value + half), float(2 * norm.sf(abs(value) / error)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: below 0.05 together they hold the chance of any false alarm to 5 %."""
    adjusted, highest = {}, 0.0
    for position, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def areas_with_covariance(
    present: NDArray[np.bool_], scores: NDArray[np.float64], patients: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Areas (M,) of M models, and their covariance (M, M) or None; ``scores`` is (M, N)."""
    positives, negatives = scores[:, present], scores[:, ~present]
    num_positives, num_negatives = positives.shape[1], negatives.shape[1]
    together = rankdata(np.concatenate([positives, negatives], axis=1), axis=1)
    # The share of negatives below each positive, and of positives above each negative; ties count half.
    below = (together[:, :num_positives] - rankdata(positives, axis=1)) / num_negatives
    above = 1 - (together[:, num_positives:] - rankdata(negatives, axis=1)) / num_positives
    areas = below.mean(axis=1)
    _, patient = np.unique(np.asarray(patients, np.str_), return_inverse=True)
    of_positives = _by_patient(below - areas[:, None], patient[present], patient.max() + 1)
    of_negatives = _by_patient(above - areas[:, None], patient[~present], patient.max() + 1)
    with_positives = len(np.unique(patient[present]))
    with_negatives = len(np.unique(patient[~present]))
    if min(with_positives, with_negatives) < 2:
        return areas, None
    everybody = len(np.unique(patient))
    cross = of_positives @ of_negatives.T * everybody / ((everybody - 1) * num_positives * num_negatives)
    covariance = (
        of_positives @ of_positives.T * with_positives / ((with_positives - 1) * num_positives**2)
        + of_negatives @ of_negatives.T * with_negatives / ((with_negatives - 1) * num_negatives**2)
        + cross
        + cross.T
    )
    return areas, covariance


def _by_patient(components: NDArray[np.float64], patient: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(patient, weights=row, minlength=count) for row in components])
