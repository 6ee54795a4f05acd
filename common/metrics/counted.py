"""Scores with the images behind each: of images at hand one by one, of a hospital's as it counts them in bins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedthorax.common.metrics.calibration import scaled
from fedthorax.common.metrics.score_histogram import LARGEST_LOGIT, ScoreHistogram

Values = NDArray[np.float64]


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
