"""Everything that is measured of a model on images that neither trained nor selected it."""

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.metrics.examinations import examination_scores, examinations_of
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.intervals import bootstrap
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.reliability import calibration, curves
from fedthorax.common.metrics.subgroups import subgroup_scores
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import GIVEN, Predictions, Scores, answers_of, in_use, predict, scores_of


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
    experiment, ct = network.experiment, split.ct
    answers = answers_of(experiment, split, predictions, points.disease_thresholds)
    scores = losses | {task: head_scores(of_task) for task, of_task in answers.items()}
    samples, seed = experiment.evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap")
    scores["intervals"], scores["examinations"] = None, None
    if _scored(network, split):
        rule, classes = experiment.evaluation.examination, experiment.labels.cancer_classes
        found = examinations_of(ct.targets, predictions.cancer, ct.patients, ct.named, rule)
        scores["examinations"] = examination_scores(found, classes, rule, samples, seed)
        if samples:
            scores["intervals"] = {task: bootstrap(of_task, samples, seed) for task, of_task in answers.items()}
    return scores


def final_scores(
    network: Network, split: SplitImages, raw: Predictions, losses: Scores, points: OperatingPoints
) -> Scores:
    """``test`` of metrics.json, less its round: scores of calibrated probabilities at the thresholds of ``points``.

    With 95 % intervals by patient, ROC curves, the calibration before and after, and figures by subgroup. Losses are
    the network's own.
    """
    experiment, evaluation = network.experiment, network.experiment.evaluation
    predictions = calibrated(raw, points)
    scores = tested(network, split, predictions, losses, points)
    answers = answers_of(experiment, split, predictions, points.disease_thresholds)
    scores["calibration"] = scores["subgroups"] = None
    if _scored(network, split):
        rest = (evaluation.calibration_bins, evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap"))
        scores["calibration"] = {
            name: {task: calibration(of_task, *rest) for task, of_task in given.items()}
            for name, given in (("before", answers_of(experiment, split, raw)), ("after", answers))
        }
        # Exact, because whoever reads this holds the images, but nothing about a handful of people.
        policy = PrivacyConfig(smallest_count=experiment.data.privacy.smallest_count, round_to=1)
        scores["subgroups"] = by_subgroup(network, split, predictions, points, policy)
    scores["curves"] = {task: curves(of_task) for task, of_task in answers.items()}
    scores["patients"] = {"xray": len(set(split.xray.patients)), "ct": len(set(split.ct.patients))}
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
    experiment, images = network.experiment, {"disease": split.xray, "cancer": split.ct}
    rest = (experiment.evaluation.bootstrap_samples, derive_seed(experiment.seed, "bootstrap"), policy)
    return {
        task: subgroup_scores(answers, images[task].attributes, *rest, guard_differences)
        for task, answers in answers_of(experiment, split, predictions, points.disease_thresholds).items()
    }


def with_duplicates(
    network: Network,
    store: FeatureStore,
    seed: int,
    points: OperatingPoints,
    clean: Scores,
    tested_on: SplitImages,
    whole: SplitImages,
    progress: Progress | None = None,
) -> Scores | None:
    """The figures on ``whole``, with the images that were left out of ``clean``: how much they would flatter the model.

    None if none was left out. Without losses and intervals: copies of a training image are no sample of anything. A
    modality that lacks none keeps its ``clean`` figures: others would only come of other partners.
    """
    more = {"disease": len(whole.xray) > len(tested_on.xray), "cancer": len(whole.ct) > len(tested_on.ct)}
    if not any(more.values()):
        return None
    raw, losses = predict(network, store, whole, seed, progress=progress, repeats=in_use(network.experiment))
    scores = scores_of(network, whole, calibrated(raw, points), losses, points.disease_thresholds)
    return {task: (scores if of_task else clean)[task] for task, of_task in more.items()}


def scores_by_given(
    network: Network, store: FeatureStore, split: SplitImages, seed: int, points: OperatingPoints
) -> dict[str, Scores] | None:
    """Scores with X-ray alone, CT alone, and both; None for a network that needs both.

    What was not given cannot be scored: without X-rays the figures of the findings are null.
    """
    if not network.tokens:
        return None
    cases: dict[str, Scores] = {}
    for given in GIVEN:
        raw, losses = predict(network, store, split, seed, given=given, repeats=in_use(network.experiment))
        cases[given] = scores_of(network, split, calibrated(raw, points), losses, points.disease_thresholds)
    return cases
