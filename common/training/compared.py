"""Two models on the same images, both heads: figures of each with intervals, and the paired difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config import Experiment
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.metrics.comparison import compare_cancer, compare_disease
from fedthorax.common.metrics.intervals import cancer_resamples, disease_resamples, percentile_interval
from fedthorax.common.metrics.resampling import is_descriptive
from fedthorax.common.training.scoring import Predictions, scored_rows


@dataclass(frozen=True)
class Truth:
    """Labels of a test split and the patient of each image: findings (N, findings), NaN unknown; classes (M,), -1."""

    findings: NDArray[np.float32]
    classes: NDArray[np.int32]
    xray_patients: tuple[str, ...]
    ct_patients: tuple[str, ...]

    @classmethod
    def of(cls, split: SplitImages) -> "Truth":
        return cls(split.xray.targets, split.ct.targets, tuple(split.xray.patients), tuple(split.ct.patients))

    def ranked(self, findings: Sequence[str], classes: Sequence[str]) -> tuple[list[str], list[str]]:
        """Findings with ten positives and negatives or more; all classes where each has them, else none."""
        known, present = ~np.isnan(self.findings), self.findings == 1
        ranked = [
            name
            for column, name in enumerate(findings)
            if not is_descriptive(int(present[:, column].sum()), int(known[:, column].sum()))
        ]
        of_known = self.classes[self.classes >= 0]
        enough = all(not is_descriptive(int(np.sum(of_known == c)), len(of_known)) for c in range(len(classes)))
        return ranked, list(classes) if enough else []


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
    labels = experiment.labels
    xray, ct = scored_rows(predictions.disease), scored_rows(predictions.cancer)
    truth, predictions = _scored(truth, predictions, xray, ct)
    findings, classes = truth.ranked(labels.findings, labels.cancer_classes)
    columns = [labels.findings.index(name) for name in findings]
    samples, seed = experiment.evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap")
    found: dict[str, Any] = {}
    for task, names in (("disease", findings), ("cancer", classes)):
        if not names:
            found[task] = {"value": None, "interval": None, "names": [], "reason": "Too few images of each kind."}
            continue
        if task == "disease":
            resamples = disease_resamples(
                truth.findings[:, columns],
                predictions.disease[:, columns],
                truth.xray_patients,
                names,
                0.5,
                samples,
                seed,
            )
        else:
            resamples = cancer_resamples(truth.classes, predictions.cancer, truth.ct_patients, names, samples, seed)
        values = resamples.values[("macro", "roc_auc")]
        interval, _ = percentile_interval(values, resamples.num_patients)
        found[task] = {"value": float(values[0]), "interval": interval, "names": names, "reason": None}
    return found


def compared(experiment: Experiment, truth: Truth, first: Predictions, second: Predictions) -> dict[str, Any]:
    """``disease`` and ``cancer``: the first model against the second, patient by patient (metrics/comparison.py)."""
    labels = experiment.labels
    samples, seed = experiment.evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap")
    xray = scored_rows(first.disease) & scored_rows(second.disease)
    ct = scored_rows(first.cancer) & scored_rows(second.cancer)
    mine, first = _scored(truth, first, xray, ct)
    _, second = _scored(truth, second, xray, ct)
    return {
        "disease": compare_disease(
            mine.findings, first.disease, second.disease, mine.xray_patients, labels.findings, samples, seed
        ),
        "cancer": compare_cancer(
            mine.classes, first.cancer, second.cancer, mine.ct_patients, labels.cancer_classes, samples, seed
        ),
    }


def _scored(
    truth: Truth, predictions: Predictions, xray: NDArray[np.bool_], ct: NDArray[np.bool_]
) -> tuple[Truth, Predictions]:
    """Without images that a model could not score: those of a split without a partner for them."""
    return (
        Truth(
            truth.findings[xray],
            truth.classes[ct],
            tuple(np.asarray(truth.xray_patients, dtype=object)[xray]),
            tuple(np.asarray(truth.ct_patients, dtype=object)[ct]),
        ),
        Predictions(predictions.disease[xray], predictions.cancer[ct]),
    )
