"""Everything that is measured of a model on images that neither trained nor selected it."""

from fedthorax.common.config import Experiment
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.metrics.examinations import examination_scores, examinations_of
from fedthorax.common.metrics.intervals import bootstrap_cancer, bootstrap_disease, cancer_answers, disease_answers
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.reliability import cancer_calibration, cancer_curves, disease_calibration, disease_curves
from fedthorax.common.metrics.subgroups import subgroup_scores
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import GIVEN, Predictions, Scores, in_use, predict, scores_of


def calibrated(predictions: Predictions, points: OperatingPoints) -> Predictions:
    """The predictions as the model gives them to its users."""
    return Predictions(points.calibrated_disease(predictions.disease), points.calibrated_cancer(predictions.cancer))


def _scored(network: Network, split: SplitImages) -> bool:
    """Whether the split was predicted at all: with tokens one modality alone is."""
    needed = any if network.tokens else all
    return needed((len(split.xray), len(split.ct)))


def tested(
    network: Network, split: SplitImages, predictions: Predictions, losses: Scores, points: OperatingPoints
) -> Scores:
    """Scores of calibrated ``predictions`` at the thresholds of ``points``, with 95 % intervals by patient."""
    scores = scores_of(network, split, predictions, losses, points.disease_thresholds)
    experiment, xray, ct = network.experiment, split.xray, split.ct
    labels, samples = experiment.labels, experiment.evaluation.bootstrap_samples
    seed = derive_seed(experiment.seed, "bootstrap")
    scores["intervals"], scores["examinations"] = None, None
    if _scored(network, split):
        rule = experiment.evaluation.examination
        found = examinations_of(ct.targets, predictions.cancer, ct.patients, ct.named, rule)
        scores["examinations"] = examination_scores(found, labels.cancer_classes, rule, samples, seed)
    if samples and _scored(network, split):
        scores["intervals"] = {
            "disease": bootstrap_disease(
                xray.targets,
                predictions.disease,
                xray.patients,
                labels.findings,
                points.disease_thresholds,
                samples,
                seed,
            ),
            "cancer": bootstrap_cancer(
                ct.targets, predictions.cancer, ct.patients, labels.cancer_classes, samples, seed
            ),
        }
    return scores


def final_scores(
    network: Network, split: SplitImages, raw: Predictions, losses: Scores, points: OperatingPoints
) -> Scores:
    """``test`` of metrics.json, less its round: scores of calibrated probabilities at the thresholds of ``points``.

    With 95 % intervals by patient, ROC curves, the calibration before and after, and figures by subgroup. Losses are
    the network's own.
    """
    experiment = network.experiment
    labels, evaluation = experiment.labels, experiment.evaluation
    predictions = calibrated(raw, points)
    scores = tested(network, split, predictions, losses, points)
    xray, ct = split.xray, split.ct
    scores["calibration"] = scores["subgroups"] = None
    if _scored(network, split):
        seed = derive_seed(experiment.seed, "bootstrap")
        samples, bins = evaluation.bootstrap_samples, evaluation.calibration_bins
        scores["calibration"] = {
            name: {
                "disease": disease_calibration(
                    xray.targets, given.disease, xray.patients, labels.findings, bins, samples, seed
                ),
                "cancer": cancer_calibration(
                    ct.targets, given.cancer, ct.patients, labels.cancer_classes, bins, samples, seed
                ),
            }
            for name, given in (("before", raw), ("after", predictions))
        }
        # Exact, because whoever reads this holds the images, but nothing about a handful of people.
        policy = PrivacyConfig(smallest_count=experiment.data.privacy.smallest_count, round_to=1)
        scores["subgroups"] = by_subgroup(network, split, predictions, points, policy)
    scores["curves"] = _curves(experiment, split, predictions)
    scores["patients"] = {"xray": len(set(xray.patients)), "ct": len(set(ct.patients))}
    return scores


def by_subgroup(
    network: Network,
    split: SplitImages,
    predictions: Predictions,
    points: OperatingPoints,
    policy: PrivacyConfig,
    guard_differences: bool = False,
) -> Scores | None:
    """``disease`` and ``cancer`` as ``subgroup_scores`` gives them, of calibrated ``predictions``; None without any."""
    if not _scored(network, split):
        return None
    experiment, xray, ct = network.experiment, split.xray, split.ct
    labels, samples = experiment.labels, experiment.evaluation.bootstrap_samples
    seed = derive_seed(experiment.seed, "bootstrap")
    found = {}
    for task, answers, images, names in (
        (
            "disease",
            disease_answers(xray.targets, predictions.disease, points.disease_thresholds),
            xray,
            labels.findings,
        ),
        ("cancer", cancer_answers(ct.targets, predictions.cancer), ct, labels.cancer_classes),
    ):
        found[task] = subgroup_scores(
            answers, images.patients, images.attributes, names, samples, seed, policy, guard_differences
        )
    return found


def _curves(experiment: Experiment, split: SplitImages, predictions: Predictions) -> Scores:
    labels = experiment.labels
    return {
        "disease": disease_curves(split.xray.targets, predictions.disease, labels.findings),
        "cancer": cancer_curves(split.ct.targets, predictions.cancer, labels.cancer_classes),
    }


def scores_by_given(
    network: Network, store: FeatureStore, split: SplitImages, seed: int, points: OperatingPoints, keep: bool = False
) -> dict[str, Scores] | None:
    """Scores with X-ray alone, CT alone, and both; None for a network that needs both.

    What was not given cannot be scored: without X-rays the figures of the findings are null.
    """
    if not network.tokens:
        return None
    cases: dict[str, Scores] = {}
    for given in GIVEN:
        raw, losses = predict(network, store, split, seed, keep, None, given, in_use(network.experiment))
        cases[given] = scores_of(network, split, calibrated(raw, points), losses, points.disease_thresholds)
    return cases
