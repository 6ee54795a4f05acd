"""Where a model's probabilities become answers: calibration and thresholds, chosen on validation images.

They are chosen once, for the selected model, and travel with it. The test images, which chose nothing, then say what
the choice is worth. A finding with fewer than ten positives or negatives keeps the fixed threshold and its
probabilities as they are, and says so: a threshold chosen from a handful of images is a throw of the dice.
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
    class_scaled,
    fit_class_temperature,
    fit_platt,
    fit_temperature,
    scaled,
)
from fedthorax.common.metrics.figures import Score
from fedthorax.common.metrics.ranking import MIN_IMAGES, is_descriptive
from fedthorax.common.metrics.scores import MOST_LABELS, Label, Number, Reason

Method = Literal["youden", "f1", "sensitivity", "fixed"]
_FEW = f"Fewer than {MIN_IMAGES} images with it, or without it"


class LabelOperation(Frozen):
    """One finding, or one class against all others. ``threshold`` holds for calibrated probabilities.

    ``slope`` and ``intercept`` scale a finding's logit; a class keeps 1 and 0, because all classes share a temperature.
    ``positives`` and ``negatives`` are the images that it was chosen from; None where a hospital keeps them.
    ``sensitivity`` and ``specificity`` are those on the images that chose the threshold, so they flatter; None where it
    was not chosen. ``reasons`` say why something was not fitted.
    """

    threshold: Annotated[float, leaving.Figure()]
    method: Annotated[Method, leaving.Code()]
    slope: Annotated[float, leaving.Figure()] = 1.0
    intercept: Annotated[float, leaving.Figure()] = 0.0
    positives: Annotated[Number | None, leaving.Stays()]
    negatives: Annotated[Number | None, leaving.Stays()]
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
    cancer_temperature: Annotated[float, Field(gt=0), leaving.Machine("calibration of all classes")] = 1.0
    reasons: Annotated[tuple[Reason, ...], Field(max_length=10)] = ()

    @property
    def disease_thresholds(self) -> list[float]:
        return [label.threshold for label in self.disease.values()]

    def without_counts(self) -> "OperatingPoints":
        """What may leave a hospital: nothing that counts its images."""
        nothing = dict.fromkeys(("positives", "negatives", "sensitivity", "specificity"))
        labels = {
            task: {name: label.model_copy(update=nothing) for name, label in getattr(self, task).items()}
            for task in ("disease", "cancer")
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
) -> OperatingPoints:
    """``disease`` and ``cancer`` are truth and the model's probability as in ``disease_scores`` and ``cancer_scores``.

    Images with NaN probability were not scored and are left out.
    """
    labels = {}
    for column, name in enumerate(findings):
        truth, probability = disease[0][:, column], disease[1][:, column]
        known = ~np.isnan(truth) & ~np.isnan(probability)
        labels[name] = _finding(truth[known] == 1, probability[known], evaluation)
    known = (cancer[0] >= 0) & ~np.isnan(cancer[1]).any(axis=1)
    truth, probability = cancer[0][known], cancer[1][known]
    temperature, reasons = 1.0, []
    if evaluation.calibration == "none":
        reasons.append("Calibration is switched off.")
    elif len(truth) < MIN_IMAGES:
        reasons.append(f"Fewer than {MIN_IMAGES} slices of known class: not calibrated.")
    else:
        temperature = fit_class_temperature(truth, probability)
    calibrated = class_scaled(probability, temperature)
    return OperatingPoints(
        site=site,
        split=split,
        disease=labels,
        cancer={
            name: _threshold(truth == column, calibrated[:, column], evaluation) for column, name in enumerate(classes)
        },
        cancer_temperature=temperature,
        reasons=tuple(reasons),
    )


def _finding(
    present: NDArray[np.bool_], probability: NDArray[np.floating], evaluation: EvaluationConfig
) -> LabelOperation:
    slope, intercept, reasons = 1.0, 0.0, []
    if evaluation.calibration == "none":
        reasons.append("Calibration is switched off.")
    elif is_descriptive(int(present.sum()), len(present)):
        reasons.append(f"{_FEW}: not calibrated.")
    elif evaluation.calibration == "temperature":
        slope = 1 / fit_temperature(present, probability)
    else:
        slope, intercept = fit_platt(present, probability)
        if slope <= 0:
            slope, intercept = 1.0, 0.0
            reasons.append("Ranks these images no better than chance: not calibrated.")
    chosen = _threshold(present, scaled(probability, slope, intercept), evaluation)
    update = {"slope": slope, "intercept": intercept, "reasons": (*reasons, *chosen.reasons)}
    return chosen.model_copy(update=update)


def _threshold(
    present: NDArray[np.bool_], probability: NDArray[np.float64], evaluation: EvaluationConfig
) -> LabelOperation:
    positives, negatives = int(present.sum()), int((~present).sum())
    if evaluation.operating_point == "fixed":
        return LabelOperation(threshold=evaluation.threshold, method="fixed", positives=positives, negatives=negatives)
    if is_descriptive(positives, len(present)):
        reason = f"{_FEW}: threshold not chosen."
        return LabelOperation(
            threshold=evaluation.threshold,
            method="fixed",
            positives=positives,
            negatives=negatives,
            reasons=(reason,),
        )
    value, sensitivity, specificity = choose_threshold(
        present, probability, evaluation.operating_point, evaluation.sensitivity
    )
    return LabelOperation(
        threshold=value,
        method=evaluation.operating_point,
        sensitivity=sensitivity,
        specificity=specificity,
        positives=positives,
        negatives=negatives,
    )


def choose_threshold(
    present: NDArray[np.bool_], probability: NDArray[np.floating], method: Method, wanted_sensitivity: float
) -> tuple[float, float, float]:
    """(threshold, sensitivity, specificity) on these images (N,), which hold positives and negatives.

    ``youden``: largest sensitivity + specificity; ``f1``: largest F1; ``sensitivity``: the highest threshold that finds
    at least ``wanted_sensitivity`` of the positives. Of equals the highest threshold. It lies halfway between two
    neighbouring probabilities, so that another machine's rounding changes no answer.
    """
    order = np.argsort(-probability, kind="stable")
    falling = np.asarray(probability, np.float64)[order]
    last = np.append(falling[1:] != falling[:-1], True)  # cut only between different probabilities
    hits, alarms = np.cumsum(present[order])[last], np.cumsum(~present[order])[last]
    lowest = falling[last]
    sensitivity = hits / present.sum()
    specificity = 1 - alarms / (~present).sum()
    worth: Mapping[str, Callable[[], NDArray[np.float64]]] = {
        "youden": lambda: sensitivity + specificity,
        "f1": lambda: 2 * hits / (hits + alarms + present.sum()),
        "sensitivity": lambda: (sensitivity >= wanted_sensitivity - 1e-12).astype(float),
    }
    best = int(np.argmax(np.round(worth[method](), 12)))  # argmax takes the first, that is the highest threshold
    below = lowest[best + 1] if best + 1 < len(lowest) else 0.0
    return float((lowest[best] + below) / 2), float(sensitivity[best]), float(specificity[best])
