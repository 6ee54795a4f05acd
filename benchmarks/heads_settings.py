"""Which settings suit the heads on few real images? Cross-validated on the hospitals' images; no test image is read.

    python benchmarks/heads_settings.py configs/real.yaml --passes 32 --rate 1e-4
    python benchmarks/heads_settings.py configs/real.yaml --passes 32 --rate 3e-4 --federated

Five folds over the hospitals' training and validation images, equal pictures kept in one fold. Pooled, or with
--federated by hospital and averaged after each pass. Prints both tasks' macro ROC-AUC, mean over folds, at a quarter,
half, three quarters and all of the passes, the same for a logistic regression on the same features, and at the end the
difference of the two on X-rays with a 95 % interval that resamples the images of each fold. Scores of both are means
over evaluation.views of each image.
"""

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

from sklearn.linear_model import LogisticRegression  # noqa: E402  after TensorFlow has been told to be quiet
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.config.load import load_experiment  # noqa: E402
from fedthorax.common.ground.seeds import derive_seed  # noqa: E402
from fedthorax.common.hospital.site import load_hospital  # noqa: E402
from fedthorax.common.model.segments import HEAD_SEGMENTS  # noqa: E402
from fedthorax.common.pairing import evaluation_pairs, training_pairs  # noqa: E402
from fedthorax.common.training.batches import batches  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.schedule import plan_round  # noqa: E402

FOLDS, SAMPLES = 5, 500
PENALTIES = (1e-4, 1e-3, 1e-2)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Of one modality: ``versions`` (V, N, D), the unchanged images first; ``fold`` and ``hospital`` number (N,)."""

    versions: Floats
    labels: NDArray[Any]
    fold: NDArray[np.int64]
    hospital: NDArray[np.int64]


def all_features(experiment: Experiment, network: Network) -> dict[str, Features]:
    sites = [load_hospital(experiment, name) for name in experiment.data.hospitals]
    store = FeatureStore(network, experiment.data.cache.folder)
    count = max(experiment.training.augmentation.feature_versions + 1, experiment.evaluation.views)
    random, found = np.random.default_rng(0), {}
    for modality in ("xray", "ct"):
        parts = [(h, site.splits[split].of(modality)) for h, site in enumerate(sites) for split in ("train", "valid")]
        digests = [digest for _, part in parts for digest in part.digests]
        pictures = {digest: number for number, digest in enumerate(sorted(set(digests)))}
        fold_of = random.permutation(len(pictures)) % FOLDS
        found[modality] = Features(
            np.concatenate([store.versions(modality, part, count, keep=True) for _, part in parts], axis=1),
            np.concatenate([part.targets for _, part in parts]),
            np.array([fold_of[pictures[digest]] for digest in digests]),
            np.concatenate([np.full(len(part), hospital) for hospital, part in parts]),
        )
    return found


def findings_auc(labels: Floats, scores: NDArray[np.floating]) -> float:
    both = [k for k in range(labels.shape[1]) if 0 < np.nansum(labels[:, k]) < len(labels)]
    return float(np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in both]))


def classes_auc(labels: NDArray[np.int32], scores: NDArray[np.floating]) -> float:
    return float(np.mean([roc_auc_score(labels == k, scores[:, k]) for k in range(scores.shape[1])]))


def logistic_regression(xray: Features, views: int) -> tuple[float, Floats]:
    """The best penalty's mean over folds, and every image's scores (N, findings) from the fold that left it out."""
    best: tuple[float, Floats] = (0.0, np.empty(0, np.float32))
    for penalty in PENALTIES:
        scores = np.zeros(xray.labels.shape, np.float32)
        for fold in range(FOLDS):
            train = xray.fold != fold
            for column, labels in enumerate(xray.labels.T):
                if len(np.unique(labels[train])) == 2:
                    model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
                    model.fit(xray.versions[0][train], labels[train])
                    of_views = [model.decision_function(view[~train]) for view in xray.versions[:views]]
                    scores[~train, column] = np.mean(of_views, axis=0)
        mean = by_fold(xray, scores)
        print(f"logistic regression, C {penalty:g}: X-ray macro ROC-AUC {mean:.3f}", flush=True)
        best = max(best, (mean, scores), key=lambda each: each[0])
    return best


def by_fold(xray: Features, scores: NDArray[np.floating], rows: NDArray[np.int64] | None = None) -> float:
    """Macro ROC-AUC within each fold, where all scores come from one model; mean over folds."""
    chosen = np.arange(len(scores)) if rows is None else rows
    folds = [chosen[xray.fold[chosen] == fold] for fold in range(FOLDS)]
    return float(np.mean([findings_auc(xray.labels[part], scores[part]) for part in folds]))


def network_scores(network: Network, found: dict[str, Features], passes: int, rate: float, federated: bool) -> Floats:
    """Prints the course over the passes; returns the last pass's scores of every X-ray from the fold without it."""
    start, marks = network.layout.read(), sorted({passes // 4, passes // 2, 3 * passes // 4, passes} - {0})
    results: dict[int, list[tuple[float, float]]] = {mark: [] for mark in marks}
    xray, ct = found["xray"], found["ct"]
    scores = np.zeros(xray.labels.shape, np.float32)
    for fold in range(FOLDS):
        network.layout.write(start)
        hospitals = sorted(set(xray.hospital)) if federated else [None]
        for number in range(1, passes + 1):
            plan = plan_round(network.experiment.training, number)
            seed = derive_seed(fold, "pass", number)
            rows = {
                hospital: [
                    np.flatnonzero((side.fold != fold) & (True if hospital is None else side.hospital == hospital))
                    for side in (xray, ct)
                ]
                for hospital in hospitals
            }
            before, total, average = network.layout.read(HEAD_SEGMENTS), 0, {}
            for hospital in hospitals:
                network.layout.write(before)
                network.start("heads", derive_seed(seed, str(hospital)), keep_optimizer=not federated and number > 1)
                network.set_learning_rate("heads", plan.learning_rate * rate / network_rate(network))
                weight = one_pass(network, found, *rows[hospital], derive_seed(seed, str(hospital), "pairs"))
                for name, values in network.layout.read(HEAD_SEGMENTS).items():
                    average[name] = average.get(name, 0) + values.astype(np.float64) * weight
                total += weight
            network.layout.write({name: (values / total).astype(np.float32) for name, values in average.items()})
            if number in marks:
                scores[xray.fold == fold], cancer = held_out(network, found, fold)
                part = xray.fold == fold
                results[number].append(
                    (findings_auc(xray.labels[part], scores[part]), classes_auc(ct.labels[ct.fold == fold], cancer))
                )
    for mark, values in results.items():
        xray_auc, ct_auc = np.mean(values, axis=0)
        print(f"network, pass {mark}: X-ray macro ROC-AUC {xray_auc:.3f}, CT {ct_auc:.3f}", flush=True)
    return scores


def network_rate(network: Network) -> float:
    """The learning rate that ``plan_round`` starts from, which --rate takes the place of."""
    training = network.experiment.training
    return training.phases[0].learning_rate or training.learning_rate


def one_pass(
    network: Network, found: dict[str, Features], xray: NDArray[np.int64], ct: NDArray[np.int64], seed: int
) -> int:
    """Train one epoch on these rows, each image in a version drawn at random; returns the number of pairs."""
    names = [list(map(str, range(len(side)))) for side in (xray, ct)]
    pairs, random = training_pairs(names[0], names[1], "random", "longest", seed), np.random.default_rng(seed)
    trained_versions = network.experiment.training.augmentation.feature_versions
    versions = random.integers(1 + trained_versions, size=(2, len(pairs)))
    for rows in batches(len(pairs), network.experiment.training.batch_size):
        x, c = xray[pairs.xray[rows]], ct[pairs.ct[rows]]
        network.step("heads")(
            found["xray"].versions[versions[0, rows], x],
            found["ct"].versions[versions[1, rows], c],
            found["xray"].labels[x],
            found["ct"].labels[c],
        )
    return len(pairs)


def held_out(network: Network, found: dict[str, Features], fold: int) -> tuple[Floats, Floats]:
    """Disease logits and cancer logits of the images of a fold, each the sum over ``evaluation.partners`` and views."""
    evaluation = network.experiment.evaluation
    num_xray, num_ct = (int(np.sum(found[name].fold == fold)) for name in ("xray", "ct"))
    disease = np.zeros((num_xray, len(network.experiment.labels.findings)), np.float32)
    cancer = np.zeros((num_ct, len(network.experiment.labels.cancer_classes)), np.float32)
    for partner, view in itertools.product(range(evaluation.partners), range(evaluation.views)):
        xray, ct = (found[name].versions[view][found[name].fold == fold] for name in ("xray", "ct"))
        pairs = evaluation_pairs(num_xray, num_ct, derive_seed(fold, "partner", partner))
        logits = network.logits_of_pooled(xray[pairs.xray], ct[pairs.ct])
        disease[pairs.xray[pairs.counts_xray]] += logits["disease"].numpy()[pairs.counts_xray]
        cancer[pairs.ct[pairs.counts_ct]] += logits["cancer"].numpy()[pairs.counts_ct]
    return disease, cancer


def difference(xray: Features, first: Floats, second: Floats) -> tuple[float, float, float]:
    """``first`` less ``second`` in X-ray macro ROC-AUC, with a 95 % interval over resampled images."""
    random, drawn = np.random.default_rng(0), []
    folds = [np.flatnonzero(xray.fold == fold) for fold in range(FOLDS)]
    for _ in range(SAMPLES):
        rows = np.concatenate([random.choice(part, len(part)) for part in folds])
        drawn.append(by_fold(xray, first, rows) - by_fold(xray, second, rows))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return by_fold(xray, first) - by_fold(xray, second), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--passes", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--federated", action="store_true")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    passes = f"training.phases.0.rounds={arguments.passes}"  # the length of the learning-rate schedule
    experiment = load_experiment(arguments.config, [*arguments.overrides, passes], base=Path.cwd())
    network = Network(experiment)
    found = all_features(experiment, network)
    _, linear = logistic_regression(found["xray"], experiment.evaluation.views)
    scores = network_scores(network, found, arguments.passes, arguments.rate, arguments.federated)
    value, low, high = difference(found["xray"], scores, linear)
    print(f"X-rays, network - logistic regression: {value:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()
