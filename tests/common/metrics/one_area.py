"""The error of one area, which the report tells by resampling: here it is the yardstick."""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from fedthorax.common.metrics.delong import areas_with_covariance


class Area(NamedTuple):
    value: float
    standard_error: float | None
    interval: tuple[float, float] | None


def delong_roc_auc(present, score, patients) -> Area:
    areas, covariance = areas_with_covariance(present, np.asarray(score, np.float64)[None], patients)
    if covariance is None:
        return Area(float(areas[0]), None, None)
    error = float(np.sqrt(covariance[0, 0]))
    half = float(norm.ppf(0.975)) * error
    return Area(float(areas[0]), error, (max(0.0, float(areas[0]) - half), min(1.0, float(areas[0]) + half)))
