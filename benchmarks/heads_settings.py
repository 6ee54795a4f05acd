"""Which settings suit the heads on few real images? Cross-validated on the hospitals' images; no test image is read.

    python benchmarks/heads_settings.py configs/real.yaml --passes 24 --rate 1e-4 --set model.dropout=0.6

Five folds over the pooled training and validation images, equal CT slices kept in one fold. Prints the mean over folds
of both tasks' macro ROC-AUC at a quarter, half, three quarters and all of the passes, and the same for a logistic
regression on the same features.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.cli.quiet import import_tensorflow, quiet_libraries

quiet_libraries()
import_tensorflow()

from sklearn.linear_model import LogisticRegression  # noqa: E402  after TensorFlow has been told to be quiet
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.config.load import load_experiment  # noqa: E402
from fedthorax.common.data.pairing import evaluation_pairs, training_pairs  # noqa: E402
from fedthorax.common.data.pool import pool_sites  # noqa: E402
from fedthorax.common.data.site import load_site  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.network import Network, batches  # noqa: E402

FOLDS = 5
PENALTIES = (1e-4, 1e-3, 1e-2)

Floats = NDArray[np.float32]


def pooled_features(experiment: Experiment, network: Network) -> dict[str, Any]:
    """Features and labels of both modalities, and the fold of every image."""
    data, labels, size = experiment.data, experiment.labels, experiment.model.image_size
    names = data.hospitals
    sites = [load_site(n, data.sources_of(n), labels, data, data.splits, size, experiment.seed) for n in names]
    splits = pool_sites("pooled", sites).splits
    store = FeatureStore(network, data.cache.folder)
    random, found = np.random.default_rng(0), {}
    for modality in ("xray", "ct"):
        parts = [getattr(splits[split], modality) for split in ("train", "valid")]
        digests = [digest for part in parts for digest in part.digests]
        pictures = {digest: number for number, digest in enumerate(sorted(set(digests)))}
        fold_of = random.permutation(len(pictures)) % FOLDS
        found[modality] = np.concatenate([store.pooled(modality, part, keep=True) for part in parts])
        found[f"{modality}_labels"] = np.concatenate([part.targets for part in parts])
        found[f"{modality}_fold"] = np.array([fold_of[pictures[digest]] for digest in digests])
    return found


def findings_auc(labels: Floats, scores: NDArray[np.floating]) -> float:
    both = [k for k in range(labels.shape[1]) if 0 < np.nansum(labels[:, k]) < len(labels)]
    return float(np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in both]))


def classes_auc(labels: NDArray[np.int32], scores: NDArray[np.floating]) -> float:
    return float(np.mean([roc_auc_score(labels == k, scores[:, k]) for k in range(scores.shape[1])]))


def logistic_regression(found: dict[str, Any]) -> None:
    for penalty in PENALTIES:
        scores = []
        for fold in range(FOLDS):
            train = found["xray_fold"] != fold
            features, labels, columns = found["xray"], found["xray_labels"], []
            for column in labels.T:
                if len(np.unique(column[train])) < 2:
                    columns.append(np.zeros(int((~train).sum())))
                    continue
                model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
                columns.append(model.fit(features[train], column[train]).decision_function(features[~train]))
            scores.append(findings_auc(labels[~train], np.stack(columns, axis=1)))
        print(f"logistic regression, C {penalty:g}: X-ray macro ROC-AUC {np.mean(scores):.3f}", flush=True)


def network_scores(network: Network, found: dict[str, Any], passes: int, rate: float) -> None:
    start, marks = network.layout.read(), sorted({passes // 4, passes // 2, 3 * passes // 4, passes} - {0})
    results: dict[int, list[tuple[float, float]]] = {mark: [] for mark in marks}
    for fold in range(FOLDS):
        network.layout.write(start)
        network.start("heads", seed=fold)
        network.set_learning_rate("heads", rate)
        xray, ct = found["xray_fold"] != fold, found["ct_fold"] != fold
        for number in range(1, passes + 1):
            patients = [list(map(str, range(int(side.sum())))) for side in (xray, ct)]
            pairs = training_pairs(patients[0], patients[1], "random", "longest", 1000 * fold + number)
            for rows in batches(len(pairs), network.experiment.training.batch_size):
                x, c = pairs.xray[rows], pairs.ct[rows]
                network.step_on_pooled(
                    found["xray"][xray][x], found["ct"][ct][c], found["xray_labels"][xray][x], found["ct_labels"][ct][c]
                )
            if number in marks:
                results[number].append(held_out(network, found, ~xray, ~ct, fold))
    for mark, values in results.items():
        xray_auc, ct_auc = np.mean(values, axis=0)
        print(f"network, pass {mark}: X-ray macro ROC-AUC {xray_auc:.3f}, CT {ct_auc:.3f}", flush=True)


def held_out(
    network: Network, found: dict[str, Any], xray: NDArray[np.bool_], ct: NDArray[np.bool_], seed: int
) -> tuple[float, float]:
    pairs = evaluation_pairs(int(xray.sum()), int(ct.sum()), seed)
    logits = network.logits_of_pooled(found["xray"][xray][pairs.xray], found["ct"][ct][pairs.ct])
    disease, cancer = logits["disease"].numpy()[pairs.counts_xray], logits["cancer"].numpy()[pairs.counts_ct]
    x, c = pairs.xray[pairs.counts_xray], pairs.ct[pairs.counts_ct]
    return findings_auc(found["xray_labels"][xray][x], disease), classes_auc(found["ct_labels"][ct][c], cancer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--passes", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.config, arguments.overrides, base=Path.cwd())
    network = Network(experiment)
    found = pooled_features(experiment, network)
    logistic_regression(found)
    network_scores(network, found, arguments.passes, arguments.rate)


if __name__ == "__main__":
    main()
