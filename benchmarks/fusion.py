"""What the fusion is worth on real images: the partner a stranger, or absent, against two networks without a fusion.

    make real
    python benchmarks/fusion.py configs/real.yaml --seeds 3

All arms train the heads on kept features, together, with the same rounds; of each the last round is taken, for so few
validation images would choose by chance. No collection here has an X-ray and a CT slice of the same person, so what a
partner who is one adds cannot be measured. Means over seeds on the central test images, 95 % intervals that resample
patients and seeds, and differences from the first row on the same of both. One JSON file holds what the models say;
after a stop it goes on.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from chest_heads import study
from heads_federation import HeadsRun, Networks
from local_runs import (
    SCORES,
    SINGLE_PAIR,
    central_without,
    compared,
    figure_of,
    load_hospitals,
    predictions_on_test,
    resamples_of,
    signed,
    with_interval,
)

from fedthorax.common.config.load import load_experiment
from fedthorax.common.training.scoring import Predictions

LAST = ("evaluation.selection_metric=last",)
ARMS: Mapping[str, list[str]] = {
    "fused": [],
    "tokens": ["model.absent=token", "training.modality_dropout=0.3"],
    "apart": ["model.fusion_units=[]"],
}
ROWS = {  # (arm, what it was given)
    "both heads see both, the partner a stranger": ("fused", "both"),
    "the same, a side in three left out in training, the partner a stranger": ("tokens", "both"),
    "the same, the partner absent": ("tokens", "alone"),
    "no fusion, each head sees its own image": ("apart", "both"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/fusion.json"))
    arguments = parser.parse_args()
    experiments = {
        arm: load_experiment(arguments.config, [*LAST, *arguments.overrides, *settings], base=Path.cwd())
        for arm, settings in ARMS.items()
    }
    experiment = experiments["fused"]
    sites = load_hospitals(experiment)
    central = central_without(experiment, sites.values())

    def run(key: str) -> dict[str, Any]:
        seed, arm = key.split()
        mine, networks = experiments[arm].model_copy(update={"seed": int(seed)}), Networks()
        trained = HeadsRun(mine, sites, networks, central)
        trained.run(every=mine.training.num_rounds)
        network, store = networks.build(mine)
        told: dict[str, Any] = {"round": trained.selection.best_round}
        both = predictions_on_test(network, store, central, SINGLE_PAIR)
        found = {"both": (both, both)}
        if arm == "tokens":
            found["alone"] = tuple(
                predictions_on_test(network, store, central, SINGLE_PAIR, side) for side in ("xray", "ct")
            )
        for given, (xray, ct) in found.items():
            told[given] = {"disease": np.round(xray.disease, 5).tolist(), "cancer": np.round(ct.cancer, 5).tolist()}
        return told

    settings = experiment.model_dump(mode="json", exclude={"output", "data"})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(1, arguments.seeds + 1)
    runs = study(arguments.out, settings, [f"{seed} {arm}" for seed in seeds for arm in ARMS], run)

    def scored(arm: str, given: str) -> list[dict[str, Any]]:
        told = [runs[f"{seed} {arm}"][given] for seed in seeds]
        return [
            resamples_of(
                Predictions(*(np.array(each[head], np.float32) for head in ("disease", "cancer"))), central, experiment
            )
            for each in told
        ]

    print("| | " + " | ".join(f"{score} | less the first" for score in SCORES) + " |")
    print("|---" * (1 + 2 * len(SCORES)) + "|")
    first = scored(*next(iter(ROWS.values())))
    for words, (arm, given) in ROWS.items():
        mine, cells = scored(arm, given), []
        for score in SCORES.values():
            value, less = figure_of(mine, score), compared(mine, first, score)["difference"]
            cells += [with_interval(value, seeds=True), signed(less) if arm != "fused" else ""]
        print(f"| {words} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
