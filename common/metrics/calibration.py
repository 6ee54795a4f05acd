"""Probabilities that mean what they say: scaling fitted on validation images, which leaves the ranking as it is.

Platt scaling of a finding: sigmoid(slope * logit + intercept), fitted to smoothed labels, which keeps it finite where a
threshold separates all validation images (Platt, Advances in Large Margin Classifiers, 1999, 61-74). Temperature
scaling has only the slope, 1 / temperature (Guo et al., ICML 2017).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, log_softmax, logit, softmax

_EDGE = 1e-12  # probabilities are kept this far from 0 and 1
_TEMPERATURES = (0.05, 20.0)


def fit_platt(present: NDArray[np.bool_], probability: NDArray[np.floating]) -> tuple[float, float]:
    """(slope, intercept) for arrays (N,) with both kinds of label. A slope of 0 or less means worse than chance."""
    logits = _logits(probability)
    positives, negatives = int(present.sum()), int((~present).sum())
    target = np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = parameters[0] * logits + parameters[1]
        value = -(target * log_expit(scaled) + (1 - target) * log_expit(-scaled)).mean()
        slope = expit(scaled) - target
        return float(value), np.array([(slope * logits).mean(), slope.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    return float(found.x[0]), float(found.x[1])


def fit_temperature(present: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """The temperature of yes-or-no probabilities (N,), between 0.05 and 20."""
    logits = _logits(probability)
    signs = np.where(present, 1.0, -1.0)
    return _best_temperature(lambda temperature: float(-log_expit(signs * logits / temperature).mean()))


def fit_class_temperature(truth: NDArray[np.integer], probability: NDArray[np.floating]) -> float:
    """The temperature of class probabilities (N, C); ``truth`` (N,) holds known classes only."""
    logs = np.log(np.clip(np.asarray(probability, np.float64), _EDGE, None))
    rows = np.arange(len(truth))
    return _best_temperature(lambda temperature: float(-log_softmax(logs / temperature, axis=1)[rows, truth].mean()))


def scaled(probability: NDArray[np.floating], slope: float, intercept: float) -> NDArray[np.float64]:
    """Of a finding; with a positive slope the ranking stays."""
    if (slope, intercept) == (1.0, 0.0):
        return np.asarray(probability, np.float64)
    return expit(slope * _logits(probability) + intercept)


def class_scaled(probability: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Of (N, C) class probabilities; the most probable class stays."""
    if temperature == 1.0:
        return np.asarray(probability, np.float64)
    return softmax(np.log(np.clip(np.asarray(probability, np.float64), _EDGE, None)) / temperature, axis=1)


def _best_temperature(loss: Callable[[float], float]) -> float:
    found = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def _logits(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    return logit(np.clip(np.asarray(probability, np.float64), _EDGE, 1 - _EDGE))
