"""95 % intervals by resampling patients, not images: two images of one person are not two independent observations.

A resample draws as many patients as there are, with replacement, and takes all their images; an image therefore has a
whole-number weight, and every figure is computed from weights for many resamples at once. The interval runs from the
2.5th to the 97.5th percentile of the resamples in which the figure is defined, and ``defined`` counts those. A mean
runs in each resample over the findings (classes) that are defined there, as it does in ``head_scores``.

Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. ROC-AUC from mid-ranks:
Hanley and McNeil, Radiology 143 (1982), 29-36.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.metrics.answers import Answers
from fedthorax.common.metrics.figures import figures_of
from fedthorax.common.metrics.resampling import LEVEL, MAX_CELLS, image_weights, number, percentile_interval, ratio

MEANS = ("macro", "weighted", "micro")

Figure = tuple[str, ...]
"""Where a figure stands in the scores: ``("macro", "roc_auc")``, ``("per_finding", "Mass", "f1")``, …"""


@dataclass(frozen=True)
class Resamples:
    """Every figure of one model on the same resamples of the same patients.

    ``values[figure]`` is (samples + 1,): the figure on the data themselves, then on each resample; NaN is undefined.
    ``draw`` names patients and random stream; only resamples of the same draw can be compared pairwise. Of ``people``
    patients some label is known.
    """

    values: dict[Figure, NDArray[np.float64]]
    draw: tuple[int, int, tuple[str, ...]]
    people: int

    @property
    def num_patients(self) -> int:
        return len(set(self.draw[2]))

    @property
    def samples(self) -> int:
        return self.draw[1]


def bootstrap(answers: Answers, samples: int, seed: int) -> dict[str, Any]:
    """Intervals shaped like ``head_scores``: ``[low, high]`` or None, and ``defined`` beside them."""
    resamples = resampled(answers, samples, seed)

    def block(people: int, *path: str) -> dict[str, Any]:
        found = {m: percentile_interval(resamples.values[(*path, m)], people) for m in answers.metrics}
        intervals: dict[str, Any] = {metric: interval for metric, (interval, _) in found.items()}
        return {**intervals, "defined": {metric: defined for metric, (_, defined) in found.items()}}

    accuracy: dict[str, Any] = {}
    if answers.task == "cancer":
        low_high, defined = percentile_interval(resamples.values[("accuracy",)], resamples.people)
        accuracy = {"accuracy": low_high, "defined": {"accuracy": defined}}
    return {
        **accuracy,
        "samples": resamples.samples,
        "level": LEVEL,
        "patients": resamples.num_patients,
        **{mean: block(resamples.people, mean) for mean in MEANS},
        answers.group: {
            name: block(len(set(answers.people(column))), answers.group, name)
            for column, name in enumerate(answers.names)
        },
    }


def resampled(answers: Answers, samples: int, seed: int) -> Resamples:
    """The figures of ``head_scores`` on every resample."""
    metrics, group, names = answers.metrics, answers.group, answers.names
    found: dict[Figure, list[NDArray[np.float64]]] = {}
    supports: list[NDArray[np.float64]] = []
    rows = [np.flatnonzero(answers.known[:, column]) for column in range(len(names))]
    everywhere = np.nonzero(answers.known)
    step = max(1, MAX_CELLS // max(1, len(everywhere[0])))
    for weights in image_weights(answers.patients, len(answers.known), samples, seed):
        supports.append(weights.astype(np.float64).T @ (answers.known & answers.present))
        for column, name in enumerate(names):
            cells = answers.cells(weights, rows[column], np.full(len(rows[column]), column))
            for metric, block in figures_of(cells, metrics).items():
                found.setdefault((group, name, metric), []).append(block)
        for start in range(0, weights.shape[1], step):  # of so many cells all resamples at once would be large
            cells = answers.cells(weights[:, start : start + step], *everywhere)
            for metric, block in figures_of(cells, metrics).items():
                found.setdefault(("micro", metric), []).append(block)
    values = {figure: np.concatenate(blocks) for figure, blocks in found.items()}
    of_support = np.concatenate(supports)  # (samples + 1, L)
    for metric in metrics:
        single = np.stack([values[(group, name, metric)] for name in names], axis=1)
        defined = np.isfinite(single)
        for mean, shares in (("macro", np.ones_like(single)), ("weighted", of_support)):
            weight = np.where(defined, shares, 0.0)
            values[(mean, metric)] = ratio((np.where(defined, single, 0.0) * weight).sum(axis=1), weight.sum(axis=1))
    if answers.task == "cancer":
        # One class a slice: the share of the right slices is the precision of all cells together.
        values[("accuracy",)] = values[("micro", "precision")]
    return Resamples(values, (seed, samples, answers.patients), len(set(answers.people())))


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
        "first": number(mean[0]),
        "second": number(other_mean[0]),
    }
    for name, values in (("difference", mean - other_mean), ("ratio", ratio(mean, other_mean))):
        interval, defined = percentile_interval(values, first[0].people)
        result[name] = {"value": number(values[0]), "interval": interval, "defined": defined}
    return result
