"""What joining the natural consortium pays each hospital: the heads, together and each alone, on its own test images.

    make natural
    python benchmarks/natural_heads.py configs/natural.yaml --seeds 3

Features are computed once. Every arm has the same rounds, and its round is chosen on the central validation images.
One JSON file holds what every model says of the test images; after a stop the command goes on. In the tables: means
over the seeds, 95 % intervals that resample patients and seeds, differences on the same of both.
"""

import argparse
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from chest_heads import study
from heads_federation import HeadsRun, Networks
from local_runs import ACCURACY, CANCER, DISEASE, SAMPLES, CentralData, compared, figure_of, load_hospitals

from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.metrics.answers import class_answers, finding_answers
from fedthorax.common.metrics.intervals import Resamples, resampled
from fedthorax.common.training.scoring import in_use, predict

TOGETHER, CENTRE = "together", "the centre's"
SCORES = {"X-ray macro ROC-AUC": DISEASE, "CT macro ROC-AUC": CANCER, "CT accuracy": ACCURACY}


class Bench:
    def __init__(self, config: Path, overrides: list[str]) -> None:
        self.experiment = load_experiment(config, overrides, base=Path.cwd())
        self.sites, self.networks = load_hospitals(self.experiment), Networks()
        self.central = CentralData(self.experiment)
        self.tests: dict[str, SplitImages] = {name: site.splits["test"] for name, site in self.sites.items()}
        self.tests[CENTRE] = self.central.test

    def run(self, key: str) -> dict[str, Any]:
        """What the selected model of an arm says of the test images that it is scored on."""
        seed, arm = key.split()
        experiment = self.experiment.model_copy(update={"seed": int(seed)})
        sites = self.sites if arm == TOGETHER else {arm: self.sites[arm]}
        heads = HeadsRun(experiment, sites, self.networks, self.central)
        heads.run(every=2)
        network, store = self.networks.build(experiment)
        told: dict[str, Any] = {"round": heads.selection.best_round}
        for name in (*sites, CENTRE):
            found, _ = predict(
                network, store, self.tests[name], derive_seed(1, "test", name), repeats=in_use(experiment)
            )
            told[name] = {"disease": np.round(found.disease, 4).tolist(), "cancer": np.round(found.cancer, 4).tolist()}
        return told

    def resamples(self, told: Mapping[str, Any], test: str) -> dict[str, Resamples]:
        images, labels, found = self.tests[test], self.experiment.labels, {}
        if len(images.xray):
            disease = np.array(told[test]["disease"], np.float32)
            xray = finding_answers(images.xray.targets, disease, labels.findings, 0.5, images.xray.patients)
            found["disease"] = resampled(xray, SAMPLES, 1)
        if len(images.ct):
            cancer = np.array(told[test]["cancer"], np.float32)
            ct = class_answers(images.ct.targets, cancer, labels.cancer_classes, images.ct.patients)
            found["cancer"] = resampled(ct, SAMPLES, 1)
        return found


def rows(bench: Bench, runs: Mapping[str, Any], seeds: range) -> Iterator[str]:
    yield "| test images of | score | together | alone | together less alone |"
    yield "|---|---|---|---|---|"

    @cache
    def arm(name: str, test: str) -> list[dict[str, Resamples]]:
        return [bench.resamples(runs[f"{seed} {name}"], test) for seed in seeds]

    for test in bench.tests:
        for title, score in SCORES.items():
            if score[0] not in arm(TOGETHER, test)[0]:
                continue
            joined = figure_of(arm(TOGETHER, test), score)
            spread = f"seeds {min(joined['seeds']):.3f}-{max(joined['seeds']):.3f}"
            cells = [f"{joined['value']:.3f} ({interval(joined, '.3f')}; {spread})", "", ""]
            if test != CENTRE:
                alone = figure_of(arm(test, test), score)
                less = compared(arm(TOGETHER, test), arm(test, test), score)["difference"]
                cells[1:] = [f"{alone['value']:.3f} ({interval(alone, '.3f')})"]
                cells.append(f"{less['value']:+.3f} ({interval(less, '+.3f')})")
            yield f"| {test} | {title} | {' | '.join(cells)} |"


def interval(value: Mapping[str, Any], form: str) -> str:
    low, high = value["interval"] or (float("nan"), float("nan"))
    return f"{low:{form}} to {high:{form}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/natural.json"))
    arguments = parser.parse_args()
    bench, seeds = Bench(arguments.config, arguments.overrides), range(1, arguments.seeds + 1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = bench.experiment.model_dump(mode="json", exclude={"output", "data"})
    keys = [f"{seed} {arm}" for seed in seeds for arm in (TOGETHER, *bench.sites)]
    runs = study(arguments.out, settings, keys, bench.run)
    print(*rows(bench, runs, seeds), sep="\n")


if __name__ == "__main__":
    main()
