"""What are losses for rare findings worth, and moments of Adam that outlive a round?

The heads of three hospitals on the same kept features, three deals.

    python benchmarks/rare_losses.py ../shared/data/nih-128 --weights ../shared/data/weights/efficientnetb0_notop.h5

`at-home` and `averaged` are the plain loss with Adam's moments carried over (chest_heads.py), `warm-up` that with a
rate that rises over the first --warm-up steps of every hospital's round. Each arm may choose its learning rate and its
round by the central validation (mean area by certainty), and its thresholds by F1 there. On the held-out patients:
macro ROC-AUC, PR-AUC and F1 over the findings with ten positives or more, the mean over the deals, and the paired
difference from the plain loss with a 95 % interval that resamples the test patients within every deal and draws deals
anew.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from chest_heads import Collection, Moments, experiment_of, study
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_auc_score

from fedthorax.common.metrics.figures import FINDING_METRICS, Cells, figures_of
from fedthorax.common.metrics.resampling import certain_mean

PLAIN = "plain"
LOSSES = (PLAIN, "asymmetric", "balanced", "adjusted")
CARRIED: dict[str, Moments] = {"at-home": "at home", "averaged": "averaged"}
WARM_UP = "warm-up"
SAMPLES = 500
SHOWN = {name: FINDING_METRICS[name] for name in ("roc_auc", "pr_auc", "f1")}
Values = NDArray[np.float64]


def validation(labels: Values, logits: Values) -> float:
    rows = []
    for truth, scores in zip(labels.T, logits.T, strict=True):
        present = int(truth.sum())
        area = float(roc_auc_score(truth, scores)) if 0 < present < len(truth) else None
        rows.append((area, present, len(truth) - present))
    found = certain_mean(rows)
    assert found is not None
    return found


def thresholds(labels: Values, logits: Values) -> list[float]:
    """Where F1 is largest on these images; infinite for a finding that none of them shows."""
    found = []
    for truth, scores in zip(labels.T, logits.T, strict=True):
        if not truth.any():
            found.append(float("inf"))
            continue
        precision, recall, at = precision_recall_curve(truth, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        found.append(float(at[int(f1[:-1].argmax())]))
    return found


def run(collection: Collection, arguments: argparse.Namespace, key: str) -> Any:
    seed, arm, rate = int(key.split()[0]), key.split()[1], float(key.split()[2])
    warm = arguments.warm_up if arm == WARM_UP else 0
    loss = PLAIN if arm in CARRIED or warm else arm
    experiment = experiment_for(arguments, loss, rate, warm).model_copy(update={"seed": seed})
    now, then = experiment.training, collection.network.experiment.training
    if (now.loss, now.warmup_steps) != (then.loss, then.warmup_steps):
        collection.renew(experiment)
    deal, best = collection.deal(seed), None
    for number in collection.rounds(experiment, deal, CARRIED.get(arm, "anew")):
        held = collection.logits(deal.valid)
        value = validation(collection.labels[deal.valid], held)
        if best is None or value > best["valid"]:
            best = {
                "valid": value,
                "round": number,
                "thresholds": thresholds(collection.labels[deal.valid], held),
                "test": np.round(collection.logits(deal.test), 4).tolist(),
            }
    return best


def experiment_for(arguments: argparse.Namespace, loss: str, rate: float, warm_up: int = 0) -> Any:
    phase = {"rounds": arguments.rounds, "trainable": "heads", "learning_rate": rate}
    return experiment_of(
        arguments.folder,
        arguments.weights,
        128,
        phases=(phase,),
        batch_size=32,
        loss={"disease": loss},
        warmup_steps=warm_up,
    )


def figures(labels: Values, logits: Values, at: list[float], weights: NDArray[np.int32]) -> Values:
    """(b, FIGURES): macro means over the findings with ten positives; ``weights`` (N, b) say how often images count."""
    rows = []
    for column, threshold in enumerate(at):
        present, scores = labels[:, column] == 1, logits[:, column]
        if present.sum() >= 10:
            found = figures_of(Cells(weights, present, scores >= threshold, scores), SHOWN)
            rows.append(np.stack([found[name] for name in SHOWN], axis=1))
    return np.nanmean(rows, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--arms", nargs="+", default=[*LOSSES, *CARRIED, WARM_UP], help=f"{PLAIN} first")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--out", type=Path, default=Path("runs/rare_losses.json"))
    arguments = parser.parse_args()
    collection = Collection(experiment_for(arguments, PLAIN, arguments.rates[0]))
    seeds = range(1, arguments.seeds + 1)
    keys = [f"{seed} {loss} {rate:g}" for loss in arguments.arms for seed in seeds for rate in arguments.rates]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"rounds": arguments.rounds, "images": len(collection.labels)}
    runs = study(arguments.out, settings, keys, lambda key: run(collection, arguments, key))
    random = np.random.default_rng(0)
    drawn: dict[str, list[Values]] = {
        loss: [] for loss in arguments.arms
    }  # by deal (1 + SAMPLES, figures), the first as it is
    for seed in seeds:
        rows = collection.deal(seed).test
        labels, patients = collection.labels[rows].astype(np.float64), collection.patients[rows]
        names, of = np.unique(patients, return_inverse=True)
        counts = [
            np.bincount(random.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(SAMPLES)
        ]
        weights = np.stack([np.ones(len(rows), np.int64), *(count[of] for count in counts)], axis=1).astype(np.int32)
        for loss in arguments.arms:
            best = max((runs[f"{seed} {loss} {rate:g}"] for rate in arguments.rates), key=lambda each: each["valid"])
            logits = np.array(best["test"])
            drawn[loss].append(figures(labels, logits, best["thresholds"], weights))
    dealt = random.integers(len(seeds), size=(SAMPLES, len(seeds)))
    for loss in arguments.arms:
        told = []
        for place, figure in enumerate(SHOWN.values()):
            mean = np.mean([each[0, place] for each in drawn[loss]])
            differences = np.array(drawn[loss])[:, :, place] - np.array(drawn[PLAIN])[:, :, place]  # (deals, 1 + b)
            resampled = [differences[deals, 1 + number].mean() for number, deals in enumerate(dealt)]
            low, high = np.percentile(resampled, [2.5, 97.5])
            told.append(f"{figure.words} {mean:.3f} {differences[:, 0].mean():+.3f} ({low:+.3f} to {high:+.3f})")
        print(f"{loss:11s} {'   '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
