"""Probabilities that mean what they say: scaling fitted on validation images, which leaves the ranking as it is.

Platt scaling of a finding: sigmoid(slope * logit + intercept), fitted to smoothed labels, which keeps it finite where a
threshold separates all validation images (Platt, Advances in Large Margin Classifiers, 1999, 61-74). Temperature
scaling has only the slope, 1 / temperature (Guo et al., ICML 2017).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, log_softmax, logit, softmax

from fedthorax.common.metrics.score_histogram import LARGEST_LOGIT, ScoreHistogram

Values = NDArray[np.float64]
_EDGE = 1e-12  # probabilities are kept this far from 0 and 1
_TEMPERATURES = (0.05, 20.0)


def fit_platt(probability: Values, present: Values, absent: Values) -> tuple[float, float]:
    """(slope, intercept) of ``probability`` (K,), which so many images (K,) with and without the finding have.

    There are both. A slope of 0 or less means worse than chance."""
    logits = _logits(probability)
    positives, negatives = present.sum(), absent.sum()
    hits, alarms = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    images, target = present + absent, present * hits + absent * alarms

    def loss(parameters: Values) -> tuple[float, Values]:
        scaled = parameters[0] * logits + parameters[1]
        value = -(target * log_expit(scaled) + (images - target) * log_expit(-scaled)).sum() / images.sum()
        slope = (images * expit(scaled) - target) / images.sum()
        return float(value), np.array([(slope * logits).sum(), slope.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    return float(found.x[0]), float(found.x[1])


def fit_temperature(probability: Values, present: Values, absent: Values) -> float:
    """The temperature of yes-or-no probabilities (K,) with so many images each, between 0.05 and 20."""
    logits = _logits(probability)

    def loss(temperature: float) -> float:
        softened = logits / temperature
        return float(-(present * log_expit(softened) + absent * log_expit(-softened)).sum() / (present + absent).sum())

    return _best_temperature(loss)


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


@dataclass(frozen=True)
class CountedScores:
    """Of one finding or class: how many images with it (``present``) and without it (``absent``) have a probability.
    All arrays are (K,)."""

    probability: Values
    present: Values
    absent: Values

    @classmethod
    def of_images(cls, truth: NDArray[np.floating], probability: NDArray[np.floating]) -> "CountedScores":
        """``truth`` (N,) is 1, 0 or NaN (unknown); images of unknown label or without a score do not count."""
        known = ~(np.isnan(truth) | np.isnan(probability))
        present = (truth[known] == 1).astype(np.float64)
        return cls(probability[known].astype(np.float64), present, 1 - present)

    @classmethod
    def of_bins(cls, histogram: ScoreHistogram) -> "CountedScores":
        """Every image stands in the middle of its bin, by the odds."""
        edges = np.array(histogram.edges, np.float64) / histogram.bins
        middle = expit(((edges[:-1] + edges[1:]) - 1) * LARGEST_LOGIT)
        present, absent = (np.array(counts, np.float64) for counts in (histogram.present, histogram.absent))
        filled = present + absent > 0
        return cls(middle[filled], present[filled], absent[filled])

    def with_bins(self, histograms: Sequence[ScoreHistogram]) -> "CountedScores":
        """These images and the hospitals' together."""
        parts = [self, *map(CountedScores.of_bins, histograms)]
        return CountedScores(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("probability", "present", "absent"))
        )

    def scaled(self, slope: float, intercept: float) -> "CountedScores":
        return replace(self, probability=scaled(self.probability, slope, intercept))

    @property
    def positives(self) -> int:
        return int(self.present.sum())

    @property
    def negatives(self) -> int:
        return int(self.absent.sum())
