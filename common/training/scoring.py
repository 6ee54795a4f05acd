"""Scores of the present weights on one split: every X-ray and every CT slice counts exactly once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config import Experiment
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.metrics.answers import Answers, Thresholds, class_answers, finding_answers
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.scores import Task
from fedthorax.common.pairing import EvaluationPairs, evaluation_pairs, one_sided_pairs
from fedthorax.common.records.records import UNKNOWN_CLASS
from fedthorax.common.training.batches import batches, network_inputs, rows_of
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.network import Network

Scores = dict[str, Any]
Given = Literal["xray", "ct", "both"]
GIVEN: tuple[Given, ...] = ("xray", "ct", "both")


@dataclass(frozen=True)
class Repeats:
    """An image's prediction is the mean over so many random ``partners``, in so many ``views`` of both images."""

    partners: int
    views: int


def during_rounds(experiment: Experiment) -> Repeats:
    return Repeats(experiment.evaluation.partners, 1)


def in_use(experiment: Experiment) -> Repeats:
    """For tests, calibration and thresholds: who uses the model has one X-ray and one CT slice, and means over several
    pairs are less extreme, and right more often, than what it says then."""
    return Repeats(1, experiment.evaluation.views)


@dataclass(frozen=True)
class Predictions:
    """Probabilities in the order of the images: disease (X-rays, findings), cancer (CT slices, classes)."""

    disease: NDArray[np.floating]
    cancer: NDArray[np.floating]


def predict(
    network: Network,
    store: FeatureStore,
    split: SplitImages,
    seed: int,
    keep_features: bool = False,
    progress: Progress | None = None,
    given: Given = "both",
    repeats: Repeats | None = None,
) -> tuple[Predictions, Scores]:
    """Predictions for every image of ``split`` and the mean losses.

    Both heads see the fused features, so an image's probability depends a little on its partner, who is a stranger:
    the prediction is the mean over ``repeats``, by default those of ``during_rounds``; partners are drawn from
    ``seed``. Where the other modality has fewer images they are used again as partners, but never scored again. A split
    that lacks a modality has no pairs, so no image of it is scored: losses are null. A network with tokens scores the
    other modality alone; ``given`` withholds one from it.
    """
    num_xray, num_ct = len(split.xray), len(split.ct)
    use_xray, use_ct = num_xray if given != "ct" else 0, num_ct if given != "xray" else 0
    labels = network.experiment.labels
    predictions = Predictions(
        disease=np.full((num_xray, len(labels.findings)), np.nan, np.float32),
        cancer=np.full((num_ct, len(labels.cancer_classes)), np.nan, np.float32),
    )
    sums = np.zeros(4)
    one_sided = network.tokens and not (use_xray and use_ct)
    repeats = repeats or during_rounds(network.experiment)
    partners = 1 if one_sided else repeats.partners
    pairs_of = one_sided_pairs if one_sided else evaluation_pairs
    if max(use_xray, use_ct) if one_sided else min(use_xray, use_ct):
        predictions.disease[:use_xray], predictions.cancer[:use_ct] = 0, 0
        views = {
            name: store.versions(name, split.of(name), repeats.views, keep_features, progress)
            for name in network.modalities
        }
        for view in range(repeats.views):
            pooled = {name: of[view] for name, of in views.items()}
            for partner in range(partners):
                pairs = pairs_of(use_xray, use_ct, derive_seed(seed, "partner", partner) if partner else seed)
                sums += _add_predictions(network, split, pairs, pooled, predictions)
        predictions.disease[:] /= partners * repeats.views
        predictions.cancer[:] /= partners * repeats.views
    return predictions, mean_losses(network, sums)


def _add_predictions(
    network: Network,
    split: SplitImages,
    pairs: EvaluationPairs,
    pooled: Mapping[str, NDArray[np.float32]],
    predictions: Predictions,
) -> NDArray[np.float64]:
    """Add every image's probabilities beside its partner in ``pairs`` to ``predictions``; returns loss sums (4,)."""
    sums = np.zeros(4)
    # A repeated partner is not scored again: its label counts as unknown.
    disease_labels, cancer_labels = rows_of(split.xray.targets, pairs.xray), rows_of(split.ct.targets, pairs.ct)
    disease_labels = np.where(pairs.counts_xray[:, None], disease_labels, np.float32(np.nan))
    cancer_labels = np.where(pairs.counts_ct, cancer_labels, UNKNOWN_CLASS).astype(np.int32)
    for rows in batches(len(pairs.xray), network.experiment.evaluation.batch_size):
        logits = network.logits_of_pooled(*network_inputs(network, pooled, pairs.xray[rows], pairs.ct[rows]))
        losses = network.losses({"disease": disease_labels[rows], "cancer": cancer_labels[rows]}, logits)
        sums += np.array([float(part) for loss in losses for part in loss])
        counts_xray, counts_ct = rows[pairs.counts_xray[rows]], rows[pairs.counts_ct[rows]]
        sigmoid, softmax = _sigmoid(logits["disease"].numpy()), _softmax(logits["cancer"].numpy())
        predictions.disease[pairs.xray[counts_xray]] += sigmoid[counts_xray - rows[0]]
        predictions.cancer[pairs.ct[counts_ct]] += softmax[counts_ct - rows[0]]
    return sums


def mean_losses(network: Network, sums: NDArray[np.float64]) -> Scores:
    """``{"loss", "disease_loss", "cancer_loss"}`` from (disease total, weight, cancer total, weight); null where a
    task had no known label, and the weighted sum runs over the tasks that had."""
    weights = network.experiment.training.loss
    disease = float(sums[0] / sums[1]) if sums[1] else None
    cancer = float(sums[2] / sums[3]) if sums[3] else None
    terms = [
        weight * loss
        for weight, loss in ((weights.disease_weight, disease), (weights.cancer_weight, cancer))
        if loss is not None
    ]
    return {"loss": sum(terms) if terms else None, "disease_loss": disease, "cancer_loss": cancer}


def scores_of(
    network: Network,
    split: SplitImages,
    predictions: Predictions,
    losses: Scores,
    thresholds: Sequence[float] | None = None,
) -> Scores:
    """Losses and the figures of both heads, as ``metrics.json`` holds them; without ``thresholds`` at the fixed one."""
    answers = answers_of(network.experiment, split, predictions, thresholds)
    return losses | {task: head_scores(of_task) for task, of_task in answers.items()}


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

    def answers(self, labels: LabelsConfig, said: Predictions, thresholds: Thresholds = 0.5) -> dict[Task, Answers]:
        """Of the images that have a prediction."""
        disease, cancer = np.nan_to_num(said.disease), np.nan_to_num(said.cancer)
        xray = finding_answers(self.findings, disease, labels.findings, thresholds, self.xray_patients)
        ct = class_answers(self.classes, cancer, labels.cancer_classes, self.ct_patients)
        return {
            "disease": xray.of_images(scored_rows(said.disease)),
            "cancer": ct.of_images(scored_rows(said.cancer)),
        }


def answers_of(
    experiment: Experiment, split: SplitImages, predictions: Predictions, thresholds: Sequence[float] | None = None
) -> dict[Task, Answers]:
    """Of the images that have a prediction; without ``thresholds`` at the fixed one."""
    at = experiment.evaluation.threshold if thresholds is None else thresholds
    return Truth.of(split).answers(experiment.labels, predictions, at)


def scored_rows(probability: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which images have a prediction; an image without a partner has none."""
    scored: NDArray[np.bool_] = ~np.isnan(probability).any(axis=1)
    return scored


def score(
    network: Network,
    store: FeatureStore,
    split: SplitImages,
    seed: int,
    keep_features: bool = False,
    progress: Progress | None = None,
) -> Scores:
    """``predict`` and ``scores_of`` in one."""
    predictions, losses = predict(network, store, split, seed, keep_features, progress)
    return scores_of(network, split, predictions, losses)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
