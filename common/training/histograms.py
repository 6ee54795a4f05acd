"""Histograms of a network's probabilities on one split, label by label."""

from typing import Any

import numpy as np

from fedthorax.common.config import Experiment
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.metrics.score_histogram import score_histogram, too_few
from fedthorax.common.records.records import UNKNOWN_CLASS
from fedthorax.common.training.scoring import Predictions


def histograms_of(
    experiment: Experiment, split: SplitImages, predictions: Predictions, smallest_count: int
) -> dict[str, dict[str, Any]]:
    """``disease`` and ``cancer``: label → histogram, or None where fewer than ``smallest_count`` images have it or lack
    it. A class stands against all others."""
    classes = split.ct.targets
    known = np.where(classes == UNKNOWN_CLASS, np.nan, 1.0)
    columns = {
        "disease": [
            (name, split.xray.targets[:, i], predictions.disease[:, i])
            for i, name in enumerate(experiment.labels.findings)
        ],
        "cancer": [
            (name, np.where(classes == i, 1.0, 0.0) * known, predictions.cancer[:, i])
            for i, name in enumerate(experiment.labels.cancer_classes)
        ],
    }
    told: dict[str, dict[str, Any]] = {}
    for task, labels in columns.items():
        told[task] = {}
        for name, truth, probability in labels:
            histogram = score_histogram(truth, probability, experiment.evaluation.histogram_bins, smallest_count)
            told[task][name] = None if too_few(histogram, max(smallest_count, 1)) else histogram.as_dict()
    return told
