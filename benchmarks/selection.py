"""By which validation figure is the round, and the learning rate, best chosen? Many deals of the same patients.

    python benchmarks/selection.py ../shared/data/nih-128 --weights ../shared/data/weights/efficientnetb0_notop.h5

Three hospitals train the heads with each of three learning rates; every rule chooses one of all rounds of all rates by
validation alone, and the chosen round's macro ROC-AUC on the held-out patients is what counts, over the findings that
ten of their images show. Printed: its mean over the deals, what is lost against the round that these patients would
choose (mean, standard deviation, most), and the difference from the plain mean with a 95 % interval (t) over deals.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from chest_heads import FINDINGS, Collection, experiment_of, study
from numpy.typing import NDArray
from scipy.stats import t

from fedthorax.common.metrics.resampling import area_variance, certain_mean
from fedthorax.common.metrics.score_histogram import binned_roc_auc, pooled, score_histogram

BINS, FINE_BINS = 100, 2000  # of several places, and of one whose images are all here
Values = NDArray[np.float64]


def areas(parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]], bins: int) -> dict[str, Any]:
    """Of each finding the area in bins, as the pooled histograms of several places' labels and logits give it, and how
    many images have it and lack it."""
    found: dict[str, Any] = {"area": [], "present": [], "absent": []}
    for column in range(len(FINDINGS)):
        told = [
            score_histogram(labels[:, column], 1 / (1 + np.exp(-logits[:, column].astype(np.float64))), bins)
            for labels, logits in parts
        ]
        whole = pooled(told)
        present, absent = np.array(whole.present), np.array(whole.absent)
        both = present.sum() and absent.sum()
        found["area"].append(binned_roc_auc(present, absent)["value"] if both else None)
        found["present"].append(int(present.sum()))
        found["absent"].append(int(absent.sum()))
    return found


def cross_entropy(labels: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    return float(np.mean(np.logaddexp(0, logits) - labels * logits))


def run(collection: Collection, arguments: argparse.Namespace, key: str) -> Any:
    seed, rate = int(key.split()[0]), float(key.split()[1])
    experiment = experiment_for(arguments, rate).model_copy(update={"seed": seed})
    deal = collection.deal(seed)
    rounds = []
    for _ in collection.rounds(experiment, deal):
        held = [(collection.labels[rows], collection.logits(rows)) for rows in (deal.valid, *deal.held)]
        rounds.append(
            {
                "central": areas(held[:1], FINE_BINS),
                "pooled": areas(held, BINS),
                "loss": cross_entropy(*held[0]),
                "test": areas([(collection.labels[deal.test], collection.logits(deal.test))], FINE_BINS),
            }
        )
    return rounds


def experiment_for(arguments: argparse.Namespace, rate: float) -> Any:
    phase = {"rounds": arguments.rounds, "trainable": "heads", "learning_rate": rate}
    return experiment_of(arguments.folder, arguments.weights, 128, phases=(phase,), batch_size=arguments.batch)


def plain(told: dict[str, Any]) -> float:
    return float(np.mean([area for area in told["area"] if area is not None]))


def with_floor(told: dict[str, Any], fewest: int) -> float:
    rows = zip(told["area"], told["present"], told["absent"], strict=True)
    enough = [area for area, present, absent in rows if area is not None and min(present, absent) >= fewest]
    return float(np.mean(enough))


def rows_of(told: dict[str, Any]) -> list[tuple[float, int, int]]:
    rows = zip(told["area"], told["present"], told["absent"], strict=True)
    return [row for row in rows if row[0] is not None]


def certain(told: dict[str, Any]) -> float:
    found = certain_mean(rows_of(told))
    assert found is not None
    return found


def shrunk(told: dict[str, Any]) -> float:
    """Weighted by 1 / (variance + 0.03 squared): findings of many positives count alike."""
    rows = rows_of(told)
    weights = [1 / (area_variance(present, absent) + 0.03**2) for _, present, absent in rows]
    return float(np.average([row[0] for row in rows], weights=weights))


RULES: dict[str, Callable[[dict[str, Any]], float]] = {
    "plain mean": lambda entry: plain(entry["central"]),
    "10 positives or more": lambda entry: with_floor(entry["central"], 10),
    "20 positives or more": lambda entry: with_floor(entry["central"], 20),
    "by certainty": lambda entry: certain(entry["central"]),
    "by certainty, shrunk": lambda entry: shrunk(entry["central"]),
    "loss": lambda entry: -float(entry["loss"]),
    "plain mean, pooled": lambda entry: plain(entry["pooled"]),
    "10 positives or more, pooled": lambda entry: with_floor(entry["pooled"], 10),
    "by certainty, pooled": lambda entry: certain(entry["pooled"]),
    "by certainty, shrunk, pooled": lambda entry: shrunk(entry["pooled"]),
    "the held-out patients themselves": lambda entry: with_floor(entry["test"], 10),
}


def chosen(entries: list[dict[str, Any]], rule: Callable[[dict[str, Any]], float]) -> float:
    return with_floor(max(entries, key=rule)["test"], 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--out", type=Path, default=Path("runs/selection.json"))
    arguments = parser.parse_args()
    collection = Collection(experiment_for(arguments, arguments.rates[0]))
    settings = {"rounds": arguments.rounds, "batch": arguments.batch, "images": len(collection.labels)}
    keys = [f"{seed} {rate:g}" for seed in range(1, arguments.seeds + 1) for rate in arguments.rates]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    runs = study(arguments.out, settings, keys, lambda key: run(collection, arguments, key))
    seeds = range(1, arguments.seeds + 1)
    of_seed = [[entry for rate in arguments.rates for entry in runs[f"{seed} {rate:g}"]] for seed in seeds]
    report("round and rate", of_seed)
    for rate in arguments.rates:
        report(f"round at {rate:g}", [runs[f"{seed} {rate:g}"] for seed in seeds])


def report(title: str, of_seed: list[list[dict[str, Any]]]) -> None:
    first = np.array([chosen(entries, RULES["plain mean"]) for entries in of_seed])
    print(f"\nchoosing {title}: held-out macro ROC-AUC over {len(of_seed)} deals")
    for name, rule in RULES.items():
        values = np.array([chosen(entries, rule) for entries in of_seed])
        best = np.array([chosen(entries, RULES["the held-out patients themselves"]) for entries in of_seed])
        differences = values - first
        half = float(t.ppf(0.975, len(values) - 1) * differences.std(ddof=1) / np.sqrt(len(values)))
        lost = best - values
        print(
            f"{name:34s} {values.mean():.4f}  lost {lost.mean():.4f} (sd {lost.std(ddof=1):.4f}, most {lost.max():.4f})"
            f"  {differences.mean():+.4f} ({differences.mean() - half:+.4f} to {differences.mean() + half:+.4f})"
        )


if __name__ == "__main__":
    main()
