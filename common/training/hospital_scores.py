"""The selected model on a hospital's own test images: at the common thresholds, and at thresholds of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config import Experiment
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.hospital.overlap import unseen
from fedthorax.common.metrics.answers import Answers, class_answers
from fedthorax.common.metrics.examinations import examinations_of
from fedthorax.common.metrics.operating import OperatingPoints, choose_operating_points
from fedthorax.common.metrics.resampling import MIN_IMAGES
from fedthorax.common.metrics.score_histogram import score_histogram, too_few
from fedthorax.common.records.records import Split
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.final_scores import by_subgroup, calibrated, tested, with_duplicates
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import Predictions, answers_of, in_use, predict


def validation_histograms(
    network: Network,
    store: FeatureStore,
    images: SiteImages,
    points: OperatingPoints,
    seed: int,
    policy: PrivacyConfig | None,
) -> dict[str, Any]:
    """How the present weights score the validation images: findings as they are, classes as ``points`` calibrate."""
    valid = images.splits["valid"]
    raw, _ = predict(network, store, valid, seed, repeats=in_use(network.experiment))
    scores = Predictions(raw.disease, points.calibrated_cancer(raw.cancer))
    return histograms_of(network.experiment, valid, scores, policy.smallest_count if policy else 0)


def hospital_tests(
    network: Network,
    store: FeatureStore,
    images: SiteImages,
    points: OperatingPoints,
    seed_of: Callable[[Split], int],
    policy: PrivacyConfig | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores of the present weights, JSON-ready.

    ``test`` is at the common ``points``. ``operating_points`` are chosen on the hospital's own validation images, label
    by label, and are the common ones where there are too few; ``test_at_own_thresholds`` is at these; both are None
    where there are too few for any label. Test images that
    also stand in train or valid are left out; where there are any, ``test_with_duplicates`` counts them too.
    ``subgroups`` are at the common points too, ``histograms`` of the network's own probabilities. ``policy`` is a
    real hospital's; None is a simulation, where counts are exact and the experiment says which groups are small.
    """
    labels, evaluation = network.experiment.labels, network.experiment.evaluation
    valid, whole, test = images.splits["valid"], images.splits["test"], unseen(images.splits)
    of_valid, _ = predict(network, store, valid, seed_of("valid"), False, progress, repeats=in_use(network.experiment))
    own = choose_operating_points(
        (valid.xray.targets, of_valid.disease),
        (valid.ct.targets, of_valid.cancer),
        labels.findings,
        labels.cancer_classes,
        evaluation,
        images.name,
        "valid",
        common=points,
        people=(valid.ct.patients, valid.ct.named),
        fewest=max(MIN_IMAGES, policy.smallest_count if policy else 0),
    )
    raw, losses = predict(network, store, test, seed_of("test"), False, progress, repeats=in_use(network.experiment))
    predictions = calibrated(raw, points)
    shown = policy or PrivacyConfig(smallest_count=network.experiment.data.privacy.smallest_count, round_to=1)
    results: dict[str, Any] = {
        "test": tested(network, test, predictions, losses, points),
        "subgroups": by_subgroup(network, test, predictions, points, shown, guard_differences=True),
        "operating_points": None,
        "test_at_own_thresholds": None,
        "histograms": histograms_of(network.experiment, test, raw, policy.smallest_count if policy else 0),
    }
    if any(label.source == "images" for task in (own.disease, own.cancer) for label in task.values()):
        told = own if policy else own.without_counts()  # a real hospital's gate looks at the counts, and keeps them
        results["operating_points"] = told.model_dump(mode="json")
        results["test_at_own_thresholds"] = tested(network, test, calibrated(raw, own), losses, own)
    left_out = np.subtract(*(_kinds(split, len(labels.cancer_classes)) for split in (whole, test)))
    if policy is None or not np.any(
        (left_out > 0) & (left_out < policy.smallest_count)
    ):  # else they are the difference
        more = with_duplicates(network, store, seed_of("test"), points, results["test"], test, whole, progress)
        if more is not None:
            results["test_with_duplicates"] = more
    return results


def _kinds(split: SplitImages, classes: int) -> NDArray[np.int64]:
    """How many images have each finding, lack it, are of each class, or of another one."""
    findings, known = split.xray.targets, split.ct.targets[split.ct.targets >= 0]
    of_class = np.bincount(known, minlength=classes)
    return np.concatenate([(findings == 1).sum(axis=0), (findings == 0).sum(axis=0), of_class, len(known) - of_class])


def histograms_of(
    experiment: Experiment, split: SplitImages, predictions: Predictions, smallest_count: int
) -> dict[str, dict[str, Any]]:
    """``disease``, ``cancer`` and, where a patient has several slices, ``examination``: label → histogram.

    None where fewer than ``smallest_count`` images have the label, or lack it. A class stands against all others.
    """
    labels, bins, ct = experiment.labels, experiment.evaluation.histogram_bins, split.ct
    answers: dict[str, Answers] = dict(answers_of(experiment, split, predictions).items())
    rule = experiment.evaluation.examination
    if (found := examinations_of(ct.targets, predictions.cancer, ct.patients, ct.named, rule)) is not None:
        answers["examination"] = class_answers(found.truth, found.probability, labels.cancer_classes)
    told: dict[str, dict[str, Any]] = {}
    for task, of_task in answers.items():
        told[task] = {}
        for column, name in enumerate(of_task.names):
            cells = of_task.once(column)
            histogram = score_histogram(cells.present.astype(np.float64), cells.score, bins, smallest_count)
            told[task][name] = None if too_few(histogram, max(smallest_count, 1)) else histogram.model_dump(mode="json")
    return told
