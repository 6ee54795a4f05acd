"""Where a model's probabilities become answers: calibration and thresholds, chosen on validation images.

They are chosen once, for the selected model, and travel with it. The test images, which chose nothing, then say what
the choice is worth. The centre chooses on its own images and the hospitals' together, which come as histograms. A label
with fewer than five positives or negatives among all of them keeps its probabilities as they are, and its threshold is
the one that calls as many images positive as are; docs/results.md compares five with three, seven, ten and more. A
hospital that chooses for itself does so from ten on, so that no threshold tells of a few of its patients, and keeps the
common one below that.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.ground import leaving
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.metrics.calibration import (
    CountedScores,
    class_scaled,
    fit_class_temperature,
    fit_platt,
    fit_temperature,
    scaled,
)
from fedthorax.common.metrics.examinations import Examinations, examinations_of
from fedthorax.common.metrics.figures import Score
from fedthorax.common.metrics.resampling import MIN_IMAGES
from fedthorax.common.metrics.score_histogram import ScoreHistogram
from fedthorax.common.metrics.scores import MOST_LABELS, Label, Number, Reason

Method = Literal["youden", "f1", "sensitivity", "prevalence", "fixed"]
Source = Literal["images", "common", "none"]
Told = Mapping[tuple[str, str], Mapping[str, ScoreHistogram]]
"""By task and label, by hospital: its validation images, of the findings' own probabilities and the classes' calibrated
ones."""
FEWEST = 5  # positives, and negatives, that the common threshold of a label is chosen from
_COUNTS = ("positives", "negatives", "sensitivity", "specificity")


class LabelOperation(Frozen):
    """One finding, or one class against all others. ``threshold`` holds for calibrated probabilities.

    ``slope`` and ``intercept`` scale a finding's logit; a class keeps 1 and 0, because all classes share a temperature.
    ``source``: chosen on ``images``, those of the site and of ``hospitals``; the ``common`` one, where a hospital has
    too few for its own; or none. ``positives`` and ``negatives`` are these images; None where a hospital keeps them.
    ``sensitivity`` and ``specificity`` are those on the images that chose the threshold, so they flatter; None where it
    was not chosen. ``reasons`` say why something was not fitted.
    """

    threshold: Annotated[float, leaving.Figure()]
    method: Annotated[Method, leaving.Code()]
    source: Annotated[Source, leaving.Code()] = "none"
    hospitals: Annotated[tuple[Label, ...], Field(max_length=1000)] = ()
    slope: Annotated[float, leaving.Figure()] = 1.0
    intercept: Annotated[float, leaving.Figure()] = 0.0
    positives: Annotated[Number | None, leaving.Behind(unless=("source", "common"))]
    negatives: Annotated[Number | None, leaving.Behind(unless=("source", "common"))]
    sensitivity: Annotated[Score, leaving.Stays()] = None
    specificity: Annotated[Score, leaving.Stays()] = None
    reasons: Annotated[tuple[Reason, ...], Field(max_length=10)] = ()


class OperatingPoints(Frozen):
    """Of one model on the ``split`` of one ``site``; the keys are the labels in the order of the model's outputs."""

    site: Label
    split: Label
    disease: Annotated[
        dict[Label, LabelOperation], Field(max_length=MOST_LABELS), leaving.OfTask("disease", whole=True)
    ]
    cancer: Annotated[dict[Label, LabelOperation], Field(max_length=MOST_LABELS), leaving.OfTask("cancer", whole=True)]
    examination: Annotated[
        dict[Label, LabelOperation], Field(max_length=MOST_LABELS), leaving.OfTask("cancer", whole=True)
    ] = Field(default_factory=dict)
    cancer_temperature: Annotated[float, Field(gt=0), leaving.Machine("calibration of all classes")] = 1.0
    reasons: Annotated[tuple[Reason, ...], Field(max_length=10)] = ()

    @property
    def disease_thresholds(self) -> list[float]:
        return [label.threshold for label in self.disease.values()]

    def without_counts(self) -> "OperatingPoints":
        """What may leave a hospital: nothing that counts its images."""
        nothing = dict.fromkeys(_COUNTS)
        labels = {
            task: {name: label.model_copy(update=nothing) for name, label in getattr(self, task).items()}
            for task in ("disease", "cancer", "examination")
        }
        return self.model_copy(update=labels)

    def calibrated_disease(self, probability: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, findings) of the model → calibrated; NaN stays NaN."""
        columns = [
            scaled(probability[:, column], label.slope, label.intercept)
            for column, label in enumerate(self.disease.values())
        ]
        return np.stack(columns, axis=1)

    def calibrated_cancer(self, probability: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, classes) of the model → calibrated; NaN stays NaN."""
        return class_scaled(probability, self.cancer_temperature)


def fixed_operating_points(
    findings: Sequence[str], classes: Sequence[str], threshold: float, reason: str
) -> OperatingPoints:
    """What a model without chosen ones works with: one threshold for all findings, probabilities as they are."""
    label = LabelOperation(threshold=threshold, method="fixed", positives=0, negatives=0, reasons=(reason,))
    return OperatingPoints(
        site="none", split="none", disease=dict.fromkeys(findings, label), cancer=dict.fromkeys(classes, label)
    )


def choose_operating_points(
    disease: tuple[NDArray[np.floating], NDArray[np.floating]],
    cancer: tuple[NDArray[np.integer], NDArray[np.floating]],
    findings: Sequence[str],
    classes: Sequence[str],
    evaluation: EvaluationConfig,
    site: str,
    split: str,
    told: Told | None = None,
    common: OperatingPoints | None = None,
    people: tuple[Sequence[str], Sequence[bool]] = ((), ()),
    fewest: int = MIN_IMAGES,
) -> OperatingPoints:
    """``disease`` and ``cancer`` are truth and the model's probability as in ``finding_answers`` and ``class_answers``.

    Images with NaN probability were not scored and are left out. ``told`` are other hospitals' images, ``common`` the
    points that stay where fewer than ``fewest`` images have the label, or lack it (the classes' calibration, which they
    share, where that is so of one of them), ``people`` the patients of the
    slices and whether they are known: a class has a threshold for examinations too where some patient has several.
    """
    known = (cancer[0] >= 0) & ~np.isnan(cancer[1]).any(axis=1)
    truth, probability = cancer[0][known], cancer[1][known]
    series = examinations_of(*cancer, *people, evaluation.examination) if people[0] else None
    fewest_of_a_class = min(_fewest(of, len(classes)) for of in (truth, truth if series is None else series.truth))
    temperature, reasons = 1.0, []
    if evaluation.calibration == "none":
        reasons.append("Calibration is switched off.")
    elif common is not None and fewest_of_a_class < fewest:  # a common threshold is for probabilities so calibrated
        temperature = common.cancer_temperature
        reasons.append(f"Fewer than {fewest} of a class, or of the others: the common calibration of all.")
    elif len(truth) >= fewest:
        temperature = fit_class_temperature(truth, probability)
    else:
        reasons.append(f"Fewer than {fewest} slices of known class: not calibrated.")
    calibrated = class_scaled(probability, temperature)

    def label(task: Literal["disease", "cancer", "examination"], name: str, mine: CountedScores) -> LabelOperation:
        heard = (told or {}).get((task, name), {})
        scores, kept = mine.with_bins(list(heard.values())), common and getattr(common, task).get(name)
        if kept and min(scores.positives, scores.negatives) < fewest:
            reason = f"{_few(fewest)}: the common threshold and calibration."
            update = {"source": "common", "hospitals": (), "reasons": (reason,)}
            return kept.model_copy(update=update | dict.fromkeys(_COUNTS))
        found = (_finding if task == "disease" else _threshold)(scores, evaluation)
        return found.model_copy(update={"hospitals": tuple(sorted(heard))})

    if people[0]:
        series = examinations_of(cancer[0], class_scaled(cancer[1], temperature), *people, evaluation.examination)
    if series is None and any(task == "examination" for task, _ in told or {}):
        series = Examinations.nobody(len(classes))
    by_patient = {}
    if series is not None:
        shares = np.where(series.truth[:, None] < 0, np.nan, series.truth[:, None] == np.arange(len(classes)))
        columns = zip(classes, shares.T, series.probability.T, strict=True)
        by_patient = {name: CountedScores.of_images(*column) for name, *column in columns}
    if common and not common.examination and any(min(m.positives, m.negatives) < fewest for m in by_patient.values()):
        by_patient = {}
    return OperatingPoints(
        site=site,
        split=split,
        examination={name: label("examination", name, mine) for name, mine in by_patient.items()},
        disease={
            name: label("disease", name, CountedScores.of_images(disease[0][:, column], disease[1][:, column]))
            for column, name in enumerate(findings)
        },
        cancer={
            name: label("cancer", name, CountedScores.of_images(truth == column, calibrated[:, column]))
            for column, name in enumerate(classes)
        },
        cancer_temperature=temperature,
        reasons=tuple(reasons),
    )


def _fewest(truth: NDArray[np.integer], classes: int) -> int:
    """Of one of the classes, or of the others to it."""
    counts = np.bincount(truth[truth >= 0], minlength=classes)
    return int(min(counts.min(), counts.sum() - counts.max()))


def _finding(scores: CountedScores, evaluation: EvaluationConfig) -> LabelOperation:
    slope, intercept, reasons = 1.0, 0.0, []
    if evaluation.calibration == "none":
        reasons.append("Calibration is switched off.")
    elif min(scores.positives, scores.negatives) < FEWEST:
        reasons.append(f"{_few(FEWEST)}: not calibrated.")
    elif evaluation.calibration == "temperature":
        slope = 1 / fit_temperature(scores.probability, scores.present, scores.absent)
    else:
        slope, intercept = fit_platt(scores.probability, scores.present, scores.absent)
        if slope <= 0:
            slope, intercept = 1.0, 0.0
            reasons.append("Ranks these images no better than chance: not calibrated.")
    chosen = _threshold(scores.scaled(slope, intercept), evaluation)
    update = {"slope": slope, "intercept": intercept, "reasons": (*reasons, *chosen.reasons)}
    return chosen.model_copy(update=update)


def _threshold(scores: CountedScores, evaluation: EvaluationConfig) -> LabelOperation:
    method: Method = evaluation.operating_point
    reasons: tuple[str, ...] = ()
    if method == "fixed" or not len(scores.probability):
        reasons = () if method == "fixed" else ("No label is known: threshold not chosen.",)
        return LabelOperation(
            threshold=evaluation.threshold,
            method="fixed",
            positives=scores.positives,
            negatives=scores.negatives,
            reasons=reasons,
        )
    if min(scores.positives, scores.negatives) < FEWEST:
        method, reasons = "prevalence", (f"{_few(FEWEST)}: as many are called positive as are.",)
    value, sensitivity, specificity = choose_threshold(scores, method, evaluation.sensitivity)
    return LabelOperation(
        threshold=value,
        method=method,
        source="images",
        sensitivity=sensitivity,
        specificity=specificity,
        positives=scores.positives,
        negatives=scores.negatives,
        reasons=reasons,
    )


def _few(number: int) -> str:
    return f"Fewer than {number} images with it, or without it"


def choose_threshold(
    scores: CountedScores, method: Method, wanted_sensitivity: float
) -> tuple[float, float | None, float | None]:
    """(threshold, sensitivity, specificity) on these images; the last two are None without positives or negatives.

    ``youden``: largest sensitivity + specificity; ``f1``: largest F1; ``sensitivity``: the highest threshold that finds
    at least ``wanted_sensitivity`` of the positives; ``prevalence``: about as many called positive as are, the only one
    that needs no positives and negatives. Of equals the highest threshold. It lies halfway between two neighbouring
    probabilities, so that another machine's rounding changes no answer.
    """
    order = np.argsort(-scores.probability, kind="stable")
    falling = scores.probability[order]
    last = np.append(falling[1:] != falling[:-1], True)  # cut only between different probabilities
    # The first cut calls nothing positive, a probability of 1 neither; only by prevalence it can be the best.
    hits, alarms = (np.append(0.0, np.cumsum(of[order])[last]) for of in (scores.present, scores.absent))
    highest = 1.0 + 2.0**-22 if falling[0] == 1 else 1.0  # halfway is above 1 in float32 too
    lowest = np.concatenate([[highest], falling[last], [0.0]])
    positives, negatives = hits[-1], alarms[-1]
    worth: Mapping[str, Callable[[], NDArray[np.float64]]] = {
        "youden": lambda: hits / positives - alarms / negatives,
        "f1": lambda: 2 * hits / (hits + alarms + positives),
        "sensitivity": lambda: (hits / positives >= wanted_sensitivity - 1e-12).astype(float),
        "prevalence": lambda: -np.abs(hits + alarms - positives),
    }
    start = 0 if method == "prevalence" else 1
    best = start + int(
        np.argmax(np.round(worth[method]()[start:], 12))
    )  # argmax takes the first, the highest threshold
    return (
        float((lowest[best] + lowest[best + 1]) / 2),
        float(hits[best] / positives) if positives else None,
        float(1 - alarms[best] / negatives) if negatives else None,
    )
