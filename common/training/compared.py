"""Two models on the same images, both heads: figures of each with intervals, and the paired difference."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedthorax.common.config import Experiment
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.metrics.answers import Answers
from fedthorax.common.metrics.comparison import compare
from fedthorax.common.metrics.intervals import resampled
from fedthorax.common.metrics.resampling import is_descriptive, percentile_interval
from fedthorax.common.training.scoring import Predictions, Truth


def joined(truths: Mapping[str, Truth]) -> Truth:
    """The test splits of several hospitals as one; a patient of one is nobody of another."""
    return Truth(
        np.concatenate([truth.findings for truth in truths.values()]),
        np.concatenate([truth.classes for truth in truths.values()]),
        tuple(f"{site}/{patient}" for site, truth in truths.items() for patient in truth.xray_patients),
        tuple(f"{site}/{patient}" for site, truth in truths.items() for patient in truth.ct_patients),
    )


def joined_predictions(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(np.concatenate([p.disease for p in parts]), np.concatenate([p.cancer for p in parts]))


def mean_areas(experiment: Experiment, truth: Truth, predictions: Predictions) -> dict[str, Any]:
    """``disease`` and ``cancer``: the mean ROC-AUC (``value``), its 95 % ``interval`` by patients, and over which
    ``names`` it runs; null with a ``reason`` where no label has ten positives and negatives."""
    samples, seed = experiment.evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap")
    found: dict[str, Any] = {}
    for task, answers in truth.answers(experiment.labels, predictions).items():
        if not (names := _ranked(answers)):
            found[task] = {"value": None, "interval": None, "names": [], "reason": "Too few images of each kind."}
            continue
        resamples = resampled(answers.of_labels(names), samples, seed)
        values = resamples.values[("macro", "roc_auc")]
        interval, _ = percentile_interval(values, resamples.people)
        found[task] = {"value": float(values[0]), "interval": interval, "names": names, "reason": None}
    return found


def _ranked(answers: Answers) -> list[str]:
    """Findings with ten positives and negatives or more; all classes where each has them, else none."""
    present, known = (answers.present & answers.known).sum(axis=0), answers.known.sum(axis=0)
    counts = zip(answers.names, present.tolist(), known.tolist(), strict=True)
    names = [name for name, positives, of in counts if not is_descriptive(positives, of)]
    return names if answers.task == "disease" or len(names) == len(answers.names) else []


def compared(experiment: Experiment, truth: Truth, first: Predictions, second: Predictions) -> dict[str, Any]:
    """``disease`` and ``cancer``: the first model against the second, patient by patient (metrics/comparison.py)."""
    samples, seed = experiment.evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap")
    disease, cancer = (np.stack([getattr(model, task) for model in (first, second)]) for task in ("disease", "cancer"))
    odd = [np.isnan(both).any(axis=(0, 2)) for both in (disease, cancer)]  # images that a model could not score
    for both, rows in zip((disease, cancer), odd, strict=True):
        both[:, rows] = np.nan
    one, other = (truth.answers(experiment.labels, Predictions(*both)) for both in zip(disease, cancer, strict=True))
    return {task: compare(one[task], other[task], samples, seed) for task in one}
