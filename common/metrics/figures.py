"""The figures of a model, each declared once: name, words, meaning, how it is computed, where it is shown.

A figure is a field of ``Figures`` (both heads) or ``FindingFigures`` (findings alone) with a ``Metric`` beside its
type. metrics.json, history.csv, TensorBoard and MLflow, the report, the model card, comparisons and docs/metrics.md
take names, words and columns from here, and what may leave a hospital from the rule that stands with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from fedthorax.common.ground import leaving
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.metrics.resampling import ratio, weighted_ranking

Values = NDArray[np.float64]
Need = Literal["positives", "negatives", "predicted"]
Place = Literal["history", "headline", "table", "card"]


@dataclass(frozen=True)
class Cells:
    """Known (image, label) cells in b resamples: ``weights`` (N, b), ``present``, ``predicted`` and ``score`` (N,)."""

    weights: NDArray[np.int32]
    present: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    score: Values

    @cached_property
    def sums(self) -> Mapping[str, Values]:
        """Weight (b,) of the cells that are ``hits``, ``predicted``, ``positives``, ``right`` and all ``known``. In
        float32, which counts exactly up to 16 million images."""
        present, predicted = self.present, self.predicted
        masks = (present & predicted, predicted, present, present == predicted, np.ones_like(present))
        found = self.weights.astype(np.float32).T @ np.stack(masks, axis=1).astype(np.float32)
        return dict(zip(("hits", "predicted", "positives", "right", "known"), found.T.astype(np.float64), strict=True))

    @cached_property
    def negatives(self) -> Values:
        return self.sums["known"] - self.sums["positives"]

    @cached_property
    def ranking(self) -> Values:
        """(b, 3): ROC-AUC, average precision, sensitivity at the specificity of ``ranking.SPECIFICITY``."""
        return weighted_ranking(self.weights, np.ones_like(self.present), self.present, self.score)


@dataclass(frozen=True)
class Metric:
    """``meaning`` is a sentence for who does not train models, ``also`` what clinicians say. ``needs`` are the kinds of
    cells without which the figure is undefined; ``compute`` gives (b,), NaN where it is. ``places``: where it is shown
    besides metrics.json; in history.csv and as a curve its mean over labels."""

    words: str
    meaning: str
    needs: tuple[Need, ...]
    compute: Callable[[Cells], Values]
    places: tuple[Place, ...] = ()
    also: str | None = None

    @property
    def title(self) -> str:
        """The head of a column."""
        return self.words[:1].upper() + self.words[1:]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The published schema says what a figure means."""
        return {**handler(schema), "description": f"{self.title}. {self.meaning}"}


def _f1(cells: Cells) -> Values:
    sums = cells.sums
    return np.where(sums["positives"] > 0, ratio(2 * sums["hits"], sums["predicted"] + sums["positives"]), np.nan)


def _specificity(cells: Cells) -> Values:
    false_alarms = cells.sums["predicted"] - cells.sums["hits"]
    return ratio(cells.negatives - false_alarms, cells.negatives)


_BOTH: tuple[Need, ...] = ("positives", "negatives")
Share = Annotated[float, Field(ge=0, le=1)]
Score = Share | None


class Figures(Frozen):
    """Of one finding or class against all others, or means of these."""

    roc_auc: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "ROC-AUC",
            "The chance that a randomly chosen image with the finding gets a higher score than one without; 0.5 is a "
            "coin toss, 1 is perfect, and no decision threshold is involved.",
            _BOTH,
            lambda cells: cells.ranking[:, 0],
            ("history", "headline", "table", "card"),
        ),
    ] = None
    pr_auc: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "PR-AUC",
            "Precision at each positive, averaged; by chance it is the share of positives, so compare it with that.",
            _BOTH,
            lambda cells: cells.ranking[:, 1],
            ("headline", "card"),
        ),
    ] = None
    sensitivity_at_specificity: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "sensitivity at specificity 0.9",
            "The largest share of positives that a threshold finds which leaves 90 % of the negatives alone.",
            _BOTH,
            lambda cells: cells.ranking[:, 2],
            (),
        ),
    ] = None
    precision: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "precision",
            "Of the images that the model called positive, the share that are (positive predictive value).",
            ("predicted",),
            lambda cells: ratio(cells.sums["hits"], cells.sums["predicted"]),
            ("history", "table"),
        ),
    ] = None
    recall: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "recall",
            "Of the images that are positive, the share that the model called positive (sensitivity).",
            ("positives",),
            lambda cells: ratio(cells.sums["hits"], cells.sums["positives"]),
            ("history", "table", "card"),
            also="sensitivity",
        ),
    ] = None
    specificity: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "specificity",
            "Of the images that are negative, the share that the model left alone.",
            ("negatives",),
            _specificity,
            ("card",),
        ),
    ] = None
    f1: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "F1",
            "The harmonic mean of precision and recall; it is high only if both are.",
            ("positives",),
            _f1,
            ("history", "headline", "table"),
        ),
    ] = None


class FindingFigures(Figures):
    """Accuracy of a class would be high for all that was rightly left to others, and say little."""

    accuracy: Annotated[
        Score,
        leaving.Figure(),
        Metric(
            "accuracy",
            "The share of images that were judged correctly; with rare findings it is high even if none is found.",
            (),
            lambda cells: ratio(cells.sums["right"], cells.sums["known"]),
            ("history", "table"),
        ),
    ] = None


def metrics_of(model: type[Frozen]) -> dict[str, Metric]:
    """The figures among a model's fields, in their order."""
    found = {
        name: next((value for value in field.metadata if isinstance(value, Metric)), None)
        for name, field in model.model_fields.items()
    }
    return {name: metric for name, metric in found.items() if metric is not None}


FINDING_METRICS, CLASS_METRICS = metrics_of(FindingFigures), metrics_of(Figures)


def words_of(name: str) -> str:
    """How a figure is called in a sentence."""
    return FINDING_METRICS[name].words if name in FINDING_METRICS else name


def shown_in(place: Place, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Names of the figures that a place shows."""
    return tuple(name for name, metric in metrics.items() if place in metric.places)


def figures_of(cells: Cells, metrics: Mapping[str, Metric]) -> dict[str, Values]:
    """Each figure (b,); NaN where it is undefined."""
    return {name: metric.compute(cells) for name, metric in metrics.items()}


def scored(
    cells: Cells, metrics: Mapping[str, Metric], reasons: Mapping[Need, str]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Each figure of the cells themselves, and why it is undefined: the words of ``reasons`` for what it lacks."""
    if not len(cells.present):
        return dict.fromkeys(metrics), dict.fromkeys(metrics, "No label is known.")
    there = {
        "positives": cells.present.any(),
        "negatives": not cells.present.all(),
        "predicted": cells.predicted.any(),
    }
    values: dict[str, float | None] = {}
    why: dict[str, str] = {}
    for name, metric in metrics.items():
        lacking = next((need for need in metric.needs if not there[need]), None)
        if lacking is None:
            values[name] = float(metric.compute(cells)[0])
        else:
            values[name], why[name] = None, reasons[lacking]
    return values, why


def mean_of(
    rows: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Metric], *, weighted: bool, nothing: str
) -> tuple[dict[str, float | None], dict[str, int], dict[str, str]]:
    """The mean of each figure over the rows that have it, plain or by their ``support``, over how many it runs, and
    ``nothing`` as the reason where there is none."""
    values: dict[str, float | None] = {}
    counts: dict[str, int] = {}
    for name in metrics:
        defined = [
            (row[name], row["support"] if weighted else 1)
            for row in rows.values()
            if row[name] is not None and (row["support"] or not weighted)
        ]
        counts[name] = len(defined)
        total = sum(weight for _, weight in defined)
        values[name] = float(sum(value * weight for value, weight in defined) / total) if total else None
    return values, counts, {name: nothing for name, value in values.items() if value is None}
