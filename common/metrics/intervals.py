"""95 % intervals by resampling patients, not images: two images of one person are not two independent observations.

A resample draws as many patients as there are, with replacement, and takes all their images; an image therefore has a
whole-number weight, and every figure is computed from weights for many resamples at once. The interval runs from the
2.5th to the 97.5th percentile of the resamples in which the figure is defined, and ``defined`` counts those. A mean
runs in each resample over the findings (classes) that are defined there, as it does in ``disease_scores``.

Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. ROC-AUC from mid-ranks:
Hanley and McNeil, Radiology 143 (1982), 29-36.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.metrics import cancer, disease
from fedthorax.common.metrics.cancer import known_cancer_rows
from fedthorax.common.metrics.disease import Thresholds, checked_disease_arrays, threshold_row
from fedthorax.common.metrics.resampling import (
    LEVEL,
    at_threshold,
    image_weights,
    percentile_interval,
    ratio,
    weighted_ranking,
    weighted_ranking_of_cells,
    weighted_sums,
)

MEANS = ("macro", "weighted", "micro")

Figure = tuple[str, ...]
"""Where a figure stands in the scores: ``("macro", "roc_auc")``, ``("per_finding", "Mass", "f1")``, …"""


@dataclass(frozen=True)
class Resamples:
    """Every figure of one model on the same resamples of the same patients.

    ``values[figure]`` is (samples + 1,): the figure on the data themselves, then on each resample; NaN is undefined.
    ``draw`` names patients and random stream; only resamples of the same draw can be compared pairwise.
    """

    values: dict[Figure, NDArray[np.float64]]
    draw: tuple[int, int, tuple[str, ...]]

    @property
    def num_patients(self) -> int:
        return len(set(self.draw[2]))

    @property
    def samples(self) -> int:
        return self.draw[1]


def bootstrap_disease(
    truth: NDArray[np.floating],
    probability: NDArray[np.floating],
    patients: Sequence[str],
    findings: Sequence[str],
    threshold: Thresholds,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Intervals shaped like ``disease_scores``: ``[low, high]`` or None, and ``defined`` beside them."""
    resamples = disease_resamples(truth, probability, patients, findings, threshold, samples, seed)
    return _intervals(resamples, "per_finding", findings, disease.METRICS)


def bootstrap_cancer(
    truth: NDArray[np.integer],
    probability: NDArray[np.floating],
    patients: Sequence[str],
    classes: Sequence[str],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Intervals shaped like ``cancer_scores``: ``[low, high]`` or None, and ``defined`` beside them."""
    resamples = cancer_resamples(truth, probability, patients, classes, samples, seed)
    intervals = _intervals(resamples, "per_class", classes, cancer.METRICS)
    low_high, defined = percentile_interval(resamples.values[("accuracy",)], resamples.num_patients)
    return {"accuracy": low_high, "defined": {"accuracy": defined}, **intervals}


def disease_resamples(
    truth: NDArray[np.floating],
    probability: NDArray[np.floating],
    patients: Sequence[str],
    findings: Sequence[str],
    threshold: Thresholds,
    samples: int,
    seed: int,
) -> Resamples:
    """The figures of ``disease_scores`` on every resample; ``patients`` names the patient of each of the N images."""
    truth, probability = checked_disease_arrays(truth, probability, findings)
    known = ~np.isnan(truth)
    present = truth == 1
    predicted = probability >= threshold_row(threshold, findings)
    parts, supports, micros = [], [], []
    for weights in image_weights(patients, len(truth), samples, seed):
        part = np.empty((weights.shape[1], len(findings), len(disease.METRICS)))
        part[:, :, :3] = np.stack(
            [weighted_ranking(weights, known[:, f], present[:, f], probability[:, f]) for f in range(len(findings))],
            axis=1,
        )
        hits, named, belonging, negatives, right, of_known = weighted_sums(
            weights,
            present & predicted,
            predicted & known,
            present,
            known & ~present,
            known & (present == predicted),
            known,
        )
        part[:, :, 3] = ratio(right, of_known)
        part[:, :, 4:] = np.stack(at_threshold(hits, named, belonging, negatives), axis=2)
        parts.append(part)
        supports.append(belonging)
        together = [cells.sum(axis=1) for cells in (hits, named, belonging, negatives)]
        accuracy = ratio(right.sum(axis=1), of_known.sum(axis=1))
        ranked = weighted_ranking_of_cells(weights, known, present, probability)
        micros.append(np.column_stack([ranked, accuracy, *at_threshold(*together)]))
    return _resamples(
        _Figures(*map(np.concatenate, (parts, supports, micros))),
        "per_finding",
        findings,
        disease.METRICS,
        (seed, samples, tuple(patients)),
    )


def cancer_resamples(
    truth: NDArray[np.integer],
    probability: NDArray[np.floating],
    patients: Sequence[str],
    classes: Sequence[str],
    samples: int,
    seed: int,
) -> Resamples:
    """The figures of ``cancer_scores`` on every resample; ``patients`` names the patient of each of the N slices."""
    labels, known_probability = known_cancer_rows(truth, probability, classes)
    known = np.asarray(truth) >= 0
    belongs = labels[:, None] == np.arange(len(classes))
    predicted = known_probability.argmax(axis=1)[:, None] == np.arange(len(classes))
    everyone = np.ones_like(belongs)
    parts, supports, micros, accuracies = [], [], [], []
    for all_weights in image_weights(patients, len(known), samples, seed):
        weights = all_weights[known]
        part = np.empty((weights.shape[1], len(classes), len(cancer.METRICS)))
        part[:, :, :3] = np.stack(
            [
                weighted_ranking(weights, everyone[:, c], belongs[:, c], known_probability[:, c])
                for c in range(len(classes))
            ],
            axis=1,
        )
        hits, named, belonging, others = weighted_sums(weights, belongs & predicted, predicted, belongs, ~belongs)
        part[:, :, 3:] = np.stack(at_threshold(hits, named, belonging, others), axis=2)
        parts.append(part)
        supports.append(belonging)
        accuracies.append(ratio(hits.sum(axis=1), weights.sum(axis=0, dtype=np.float64)))
        together = [cells.sum(axis=1) for cells in (hits, named, belonging, others)]
        ranked = weighted_ranking_of_cells(weights, everyone, belongs, known_probability)
        micros.append(np.column_stack([ranked, *at_threshold(*together)]))
    resamples = _resamples(
        _Figures(*map(np.concatenate, (parts, supports, micros))),
        "per_class",
        classes,
        cancer.METRICS,
        (seed, samples, tuple(patients)),
    )
    resamples.values[("accuracy",)] = np.concatenate(accuracies)
    return resamples


def paired_difference(
    first: Sequence[Resamples], second: Sequence[Resamples], figure: Figure, seed: int = 0
) -> dict[str, Any]:
    """``first - second`` and ``first / second`` of one figure, with 95 % intervals, on the same patients.

    ``first[k]`` and ``second[k]`` are two models trained with the same seed k; the figure of an arm is the mean over
    its models. A replicate resamples patients and, where there are several, the training seeds, so that the interval
    holds both sources of chance. ValueError if the resamples do not belong together.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"expected equally many models in both arms and at least one, got {len(first)}, {len(second)}")
    if any(resamples.draw != first[0].draw for resamples in [*first, *second]):
        raise ValueError("the resamples differ in patients, number or seed; a paired interval needs the same draw")
    columns = np.stack([resamples.values[figure] for resamples in first])  # (models, samples + 1)
    other_columns = np.stack([resamples.values[figure] for resamples in second])
    rng = np.random.default_rng(derive_seed(seed, "training seeds"))
    chosen = rng.integers(0, len(first), size=columns.shape)
    chosen[:, 0] = np.arange(len(first))
    mean = np.take_along_axis(columns, chosen, axis=0).mean(axis=0)
    other_mean = np.take_along_axis(other_columns, chosen, axis=0).mean(axis=0)

    result: dict[str, Any] = {
        "samples": first[0].samples,
        "patients": first[0].num_patients,
        "first": _number(mean[0]),
        "second": _number(other_mean[0]),
    }
    for name, values in (("difference", mean - other_mean), ("ratio", ratio(mean, other_mean))):
        interval, defined = percentile_interval(values, first[0].num_patients)
        result[name] = {"value": _number(values[0]), "interval": interval, "defined": defined}
    return result


@dataclass(frozen=True)
class _Figures:
    """``single`` (samples + 1, names, metrics), ``support`` (samples + 1, names), ``micro`` (samples + 1, metrics)."""

    single: NDArray[np.float64]
    support: NDArray[np.float64]
    micro: NDArray[np.float64]


def _resamples(
    figures: _Figures,
    group: str,
    names: Sequence[str],
    metrics: Sequence[str],
    draw: tuple[int, int, tuple[str, ...]],
) -> Resamples:
    defined = np.isfinite(figures.single)
    single = np.where(defined, figures.single, 0)
    macro = ratio(single.sum(axis=1), defined.sum(axis=1).astype(np.float64))
    of_support = figures.support[:, :, None]
    weighted = ratio((single * of_support).sum(axis=1), (defined * of_support).sum(axis=1))
    values: dict[Figure, NDArray[np.float64]] = {}
    for mean, columns in zip(MEANS, (macro, weighted, figures.micro), strict=True):
        values |= {(mean, metric): columns[:, m] for m, metric in enumerate(metrics)}
    for n, name in enumerate(names):
        for m, metric in enumerate(metrics):
            values[(group, name, metric)] = figures.single[:, n, m]
    return Resamples(values, draw)


def _intervals(resamples: Resamples, group: str, names: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    def block(*path: str) -> dict[str, Any]:
        found = {
            metric: percentile_interval(resamples.values[(*path, metric)], resamples.num_patients) for metric in metrics
        }
        intervals: dict[str, Any] = {metric: interval for metric, (interval, _) in found.items()}
        return {**intervals, "defined": {metric: defined for metric, (_, defined) in found.items()}}

    return {
        "samples": resamples.samples,
        "level": LEVEL,
        "patients": resamples.num_patients,
        **{mean: block(mean) for mean in MEANS},
        group: {name: block(group, name) for name in names},
    }


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
