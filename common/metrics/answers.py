"""What a model said of images, label by label, for both heads alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.metrics.figures import Cells


@dataclass(frozen=True)
class Answers:
    """Of N images and K labels: all (N, K); ``predicted`` at its thresholds."""

    known: NDArray[np.bool_]
    present: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    score: NDArray[np.float64]

    def cells(self, weights: NDArray[np.int32], images: NDArray[np.int64], columns: NDArray[np.int64]) -> Cells:
        chosen = (images, columns)
        return Cells(weights[images], self.present[chosen], self.predicted[chosen], self.score[chosen])


def disease_answers(
    truth: NDArray[np.floating], probability: NDArray[np.floating], thresholds: Sequence[float] | NDArray[np.float64]
) -> Answers:
    """Arrays as in ``disease_scores``."""
    return Answers(~np.isnan(truth), truth == 1, probability >= np.asarray(thresholds), probability.astype(np.float64))


def cancer_answers(truth: NDArray[np.integer], probability: NDArray[np.floating]) -> Answers:
    """Arrays as in ``cancer_scores``: each class against all others, predicted where it is the most probable one."""
    classes = np.arange(probability.shape[1])
    known = np.repeat((truth >= 0)[:, None], len(classes), axis=1)
    predicted = probability.argmax(axis=1)[:, None] == classes
    return Answers(known, truth[:, None] == classes, predicted, probability.astype(np.float64))
