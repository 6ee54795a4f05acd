"""95 % intervals by resampling patients, not images: two images of one person are not two independent observations.

A resample draws as many patients as there are, with replacement, and takes all their images; an image therefore has a
whole-number weight, and every figure is computed from weights for many resamples at once. The interval runs from the
2.5th to the 97.5th percentile of the resamples in which the figure is defined, and ``defined`` counts those. A macro
mean runs in each resample over the findings (classes) that are defined there, as it does in ``disease_scores``.

Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. ROC-AUC from mid-ranks:
Hanley and McNeil, Radiology 143 (1982), 29-36.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.metrics import cancer, disease
from fedthorax.common.metrics.cancer import known_cancer_rows
from fedthorax.common.metrics.disease import Thresholds, checked_disease_arrays, threshold_row
from fedthorax.common.metrics.ranking import SPECIFICITY
from fedthorax.common.seeds import derive_seed

LEVEL = 0.95
_ROUNDING = 1e-9
_MAX_CELLS = 2_000_000  # weights held at once: 8 MB

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
    parts = []
    for weights in image_weights(patients, len(truth), samples, seed):
        part = np.empty((weights.shape[1], len(findings), len(disease.METRICS)))
        part[:, :, :3] = np.stack(
            [_weighted_ranking(weights, known[:, f], present[:, f], probability[:, f]) for f in range(len(findings))],
            axis=1,
        )
        hits, named, belonging, negatives, right, of_known = _sums(
            weights,
            present & predicted,
            predicted & known,
            present,
            known & ~present,
            known & (present == predicted),
            known,
        )
        part[:, :, 3] = _ratio(right, of_known)
        part[:, :, 4:] = np.stack(_at_threshold(hits, named, belonging, negatives), axis=2)
        parts.append(part)
    return _resamples(np.concatenate(parts), "per_finding", findings, disease.METRICS, (seed, samples, tuple(patients)))


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
    parts, accuracies = [], []
    for all_weights in image_weights(patients, len(known), samples, seed):
        weights = all_weights[known]
        part = np.empty((weights.shape[1], len(classes), len(cancer.METRICS)))
        everyone = np.ones(len(labels), bool)
        part[:, :, :3] = np.stack(
            [_weighted_ranking(weights, everyone, belongs[:, c], known_probability[:, c]) for c in range(len(classes))],
            axis=1,
        )
        hits, named, belonging, others = _sums(weights, belongs & predicted, predicted, belongs, ~belongs)
        part[:, :, 3:] = np.stack(_at_threshold(hits, named, belonging, others), axis=2)
        parts.append(part)
        accuracies.append(_ratio(hits.sum(axis=1), weights.sum(axis=0, dtype=np.float64)))
    resamples = _resamples(
        np.concatenate(parts), "per_class", classes, cancer.METRICS, (seed, samples, tuple(patients))
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
    for name, values in (("difference", mean - other_mean), ("ratio", _ratio(mean, other_mean))):
        interval, defined = percentile_interval(values, first[0].num_patients)
        result[name] = {"value": _number(values[0]), "interval": interval, "defined": defined}
    return result


def draw_patients(rng: np.random.Generator, num_patients: int, samples: int) -> NDArray[np.int64]:
    """(samples, num_patients) indices of the patients of each resample."""
    return rng.integers(0, num_patients, size=(samples, num_patients))


def image_weights(patients: Sequence[str], num_images: int, samples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """How often each image stands in each resample, in blocks (N, b); the first is the data themselves."""
    if len(patients) != num_images:
        raise ValueError(
            f"patients must name the patient of each of the {num_images} images, got {len(patients)} names"
        )
    if samples < 0:
        raise ValueError(f"samples must be 0 or more, got {samples}")
    yield np.ones((num_images, 1), np.int32)
    if num_images == 0:
        yield np.zeros((0, samples), np.int32)
        return
    names, image_patient = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    rng = np.random.default_rng(seed)
    block = max(1, _MAX_CELLS // num_images)
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = draw_patients(rng, len(names), size) + len(names) * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * len(names)).reshape(size, len(names))
        yield np.ascontiguousarray(counts.T, np.int32)[image_patient]


def _weighted_ranking(
    weights: NDArray[np.int32], known: NDArray[np.bool_], present: NDArray[np.bool_], score: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(b, 3): the figures of ``RANKINGS`` in each resample; NaN with one class only.

    All three need, for every present image, only the weight of the absent images that score below it and as it does.
    """
    absent_rows, present_rows = np.flatnonzero(known & ~present), np.flatnonzero(known & present)
    absent_rows = absent_rows[np.argsort(score[absent_rows], kind="stable")]
    present_rows = present_rows[np.argsort(score[present_rows], kind="stable")]
    absent_scores, present_scores = score[absent_rows], score[present_rows]
    of_present = weights[present_rows]
    below, before = _running(weights[absent_rows]), _running(of_present)
    lower = below[np.searchsorted(absent_scores, present_scores, "left")]
    not_higher = below[np.searchsorted(absent_scores, present_scores, "right")]
    absent, total = below[-1].astype(np.float64), before[-1].astype(np.float64)
    wins = np.einsum("ib,ib->b", of_present, lower + not_higher, dtype=np.float64) / 2
    # With this image's score as the threshold: the present ones from the first equal one upwards, and the absent ones.
    hits = before[-1] - before[np.searchsorted(present_scores, present_scores, "left")]
    alarms = below[-1] - lower
    precision = np.where(of_present > 0, _ratio(hits.astype(np.float64), (hits + alarms).astype(np.float64)), 0.0)
    specific = alarms <= (1 - SPECIFICITY + _ROUNDING) * absent
    figures = (
        _ratio(wins, total * absent),
        _ratio((of_present * precision).sum(axis=0), total),
        _ratio((of_present * specific).sum(axis=0, dtype=np.float64), total),
    )
    return np.where(((total == 0) | (absent == 0))[:, None], np.nan, np.stack(figures, axis=1))


def _running(weights: NDArray[np.int32]) -> NDArray[np.int32]:
    """(k + 1, b): the weight of the first 0, 1, … k images."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), np.int32)
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def _sums(weights: NDArray[np.int32], *masks: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Weight of the images of each mask (N, K): (b, K) each. float32 counts exactly up to 16 million images."""
    together = np.concatenate(masks, axis=1).astype(np.float32)
    found = (weights.astype(np.float32).T @ together).astype(np.float64)
    return np.split(found, np.cumsum([mask.shape[1] for mask in masks])[:-1], axis=1)


def _at_threshold(
    hits: NDArray[np.float64], named: NDArray[np.float64], belonging: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall, specificity and F1 from true positives, predicted positives, positives and negatives."""
    f1 = np.where(belonging > 0, _ratio(2 * hits, named + belonging), np.nan)
    return _ratio(hits, named), _ratio(hits, belonging), _ratio(others - (named - hits), others), f1


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def _resamples(
    figures: NDArray[np.float64],
    group: str,
    names: Sequence[str],
    metrics: Sequence[str],
    draw: tuple[int, int, tuple[str, ...]],
) -> Resamples:
    """``figures`` is (samples + 1, names, metrics)."""
    defined = np.isfinite(figures)
    macro = _ratio(np.where(defined, figures, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
    values: dict[Figure, NDArray[np.float64]] = {("macro", metric): macro[:, m] for m, metric in enumerate(metrics)}
    for n, name in enumerate(names):
        for m, metric in enumerate(metrics):
            values[(group, name, metric)] = figures[:, n, m]
    return Resamples(values, draw)


def percentile_interval(values: NDArray[np.float64], num_patients: int) -> tuple[list[float] | None, int]:
    """From the data's own figure and its resamples; one patient alone tells nothing about others: None."""
    resampled = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(resampled) == 0 or num_patients < 2:
        return None, len(resampled)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return [float(low), float(high)], len(resampled)


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
        "macro": block("macro"),
        group: {name: block(group, name) for name in names},
    }


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
