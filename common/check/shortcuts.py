"""How well a property of the file alone predicts a label: what a model could learn instead of the disease."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.labelled import KINDS, LabelledImage
from fedthorax.common.issues.issue import Issue
from fedthorax.common.metrics.resampling import area_variance
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import ImageRef

MIN_PATIENTS = 10
"""Of the label, and as many without it: fewer say nothing."""

WARN_FROM = 0.7

_NUMBERS: Mapping[str, Callable[[ImageFacts], float]] = {
    "picture size": lambda facts: float(facts.height * facts.width),
    "aspect ratio": lambda facts: facts.width / facts.height,
    "mean grey": lambda facts: facts.mean_grey,
    "grey range": lambda facts: float(facts.grey_range),
}
_KINDS_OF_FILE: Mapping[str, Callable[[ImageFacts], str]] = {
    "file format": lambda facts: facts.format,
    "pixel mode": lambda facts: f"{facts.mode} {facts.bits}",
}


@dataclass(frozen=True, slots=True)
class Shortcut:
    """``roc_auc`` of ``label`` by ``by`` alone, in the better of both directions, so never below 0.5.

    ``interval`` holds 95 % of all questions asked of the modality together (Bonferroni), counted in patients (J. Hanley
    and B. McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982). Both are None, with the
    ``reason``, where the figure is undefined or says nothing.
    """

    modality: Modality
    label: str
    by: str
    roc_auc: float | None
    interval: tuple[float, float] | None
    positives: int
    negatives: int
    reason: str | None = None

    @property
    def is_warning(self) -> bool:
        return self.roc_auc is not None and self.roc_auc > WARN_FROM and (self.interval or (0.0,))[0] > 0.5


def shortcuts(
    images: Sequence[LabelledImage],
    facts: Mapping[ImageRef, ImageFacts],
    label_names: Mapping[Modality, Sequence[str]],
) -> list[Shortcut]:
    """Every label of every modality against every property; images with an unknown label are left out of its figure."""
    found = []
    for modality in KINDS:
        ours = [image for image in images if image.modality == modality and image.ref in facts]
        scores = _scores([facts[image.ref] for image in ours])
        labels = label_names.get(modality, ())
        questions = max(1, len(labels) * len(scores))
        patients = [image.patient for image in ours]
        for place, label in enumerate(labels):
            truth = _truth(ours, place)
            for by, values in scores.items():
                found.append(_shortcut(modality, label, by, truth, values, patients, questions))
    return found


def shortcut_issues(found: Sequence[Shortcut]) -> list[Issue]:
    issues = []
    for modality in KINDS:
        grave = [shortcut for shortcut in found if shortcut.modality == modality and shortcut.is_warning]
        if grave:
            grave.sort(key=lambda shortcut: -(shortcut.roc_auc or 0))
            told = [f"{s.by} predicts {s.label} with ROC-AUC {_figure(s)}" for s in grave]
            issues.append(Issue("shortcut", len(grave), "; ".join(told), modality=modality))
    return issues


def _figure(shortcut: Shortcut) -> str:
    low, high = shortcut.interval or (math.nan, math.nan)
    return f"{shortcut.roc_auc:.2f} ({low:.2f} to {high:.2f})"


def _truth(images: Sequence[LabelledImage], place: int) -> NDArray[np.float64]:
    """1 with the label, 0 without, NaN unknown; a CT slice has one class of several."""
    if images and images[0].modality == "ct":
        classes = np.array([image.labels[0] for image in images], np.float64)
        return np.where(np.isnan(classes), np.nan, classes == place)
    return np.array([image.labels[place] for image in images], np.float64)


def _scores(facts: Sequence[ImageFacts]) -> dict[str, NDArray[np.float64]]:
    """By property, a number an image. A property that all images share is left out.

    A kind of file is asked as one against all others, the commonest three: a mean over the labels of each kind would
    know the answer.
    """
    scores = {name: np.array([value(fact) for fact in facts], np.float64) for name, value in _NUMBERS.items()}
    for name, value in _KINDS_OF_FILE.items():
        kinds = [value(fact) for fact in facts]
        common = sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind))
        for kind in common[: 1 if len(common) == 2 else 3]:
            scores[f"{name} {kind}"] = np.array([other == kind for other in kinds], np.float64)
    return {name: values for name, values in scores.items() if len(values) and np.ptp(values) > 0}


def _shortcut(
    modality: Modality,
    label: str,
    by: str,
    truth: NDArray[np.float64],
    values: NDArray[np.float64],
    patients: Sequence[str],
    questions: int,
) -> Shortcut:
    positive, negative = truth == 1, truth == 0
    num_positive, num_negative = (
        len({patients[int(row)] for row in np.flatnonzero(rows)}) for rows in (positive, negative)
    )
    if min(num_positive, num_negative) < MIN_PATIENTS:
        number = number_of(num_positive, "patient")
        reason = f"{number} with {label} and {num_negative} without; {MIN_PATIENTS} of each are needed"
        return Shortcut(modality, label, by, None, None, num_positive, num_negative, reason)
    area = _roc_auc(values[positive], values[negative])
    area = max(area, 1 - area)
    error = math.sqrt(max(area_variance(num_positive, num_negative, area), 0.0))
    margin = NormalDist().inv_cdf(1 - 0.025 / questions) * error
    interval = (max(0.0, area - margin), min(1.0, area + margin))
    return Shortcut(modality, label, by, area, interval, num_positive, num_negative)


def _roc_auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Share of pairs in which the positive has the larger value; ties count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    up_to = np.searchsorted(ordered, positive, "right")
    return float((below + up_to).mean() / 2 / len(negative))
