"""What joining the natural consortium pays each hospital: together and each alone, on its own test images.

    make natural
    python benchmarks/joining.py configs/natural.yaml --seeds 3
    python benchmarks/joining.py configs/natural.yaml --strategies fedavg/branches fedavg/pairs scaffold/branches

Where the phases train the heads alone, features are computed once and the rounds are those of heads_federation.py; else
every arm is a run of the product (local_runs.py), of which the last round is taken. All have the same rounds. Of heads
the round is chosen on the central validation images. `at home` is the common model of `together` after the hospital has
tried what `personalisation.fine_tune` names on its own training images, and kept it where its own validation images
have a lower loss; so is `alone`, or it would have had fewer passes. With --strategies only those are run, together, and
compared with the first. One JSON file holds what every model says of the test images; after a stop the command goes on.
In the tables: means over the seeds, 95 % intervals that resample patients and seeds, differences on the same of both.
"""

import argparse
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from chest_heads import study
from heads_federation import HeadsRun
from heads_federation import Networks as HeadsNetworks
from local_runs import (
    SAMPLES,
    SCORES,
    CentralData,
    Experiment,
    Networks,
    compared,
    figure_of,
    load_hospitals,
    run_locally,
    signed,
    with_interval,
)

from fedthorax.common.config.federation import FederationConfig
from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.metrics.answers import class_answers, finding_answers
from fedthorax.common.metrics.intervals import Resamples, resampled
from fedthorax.common.model.segments import SegmentLayout, Weights, segments_of
from fedthorax.common.training.personalise import personalise
from fedthorax.common.training.scoring import Predictions, in_use, predict

TOGETHER, CENTRE = "together", "the centre's"


class Bench:
    def __init__(self, experiment: Experiment, out: Path) -> None:
        self.experiment, self.out = experiment, out
        self.heads_only = not any(phase.trains_backbones for phase in experiment.training.phases)
        self.networks: Networks | HeadsNetworks = HeadsNetworks() if self.heads_only else Networks()
        self.sites = load_hospitals(self.experiment)
        self.central = CentralData(self.experiment)
        self.tests: dict[str, SplitImages] = {name: site.splits["test"] for name, site in self.sites.items()}
        self.tests[CENTRE] = self.central.test

    def run(self, key: str) -> dict[str, Any]:
        """What the selected model of an arm says of the test images that it is scored on."""
        seed, arm = key.split()
        output = self.experiment.output.model_copy(update={"folder": self.out, "keep_checkpoints": 1})
        told = {"seed": int(seed), "name": re.sub("[ /]", "-", key), "output": output}
        experiment = self.experiment.model_copy(update=told)
        strategy, _, weigh_by = arm.partition("/")
        sites = {arm: self.sites[arm]} if arm in self.sites else self.sites
        if weigh_by:
            told = {"strategy": strategy, "weigh_by": weigh_by}
            federation = FederationConfig.model_validate(experiment.federation.model_dump() | told, strict=False)
            experiment = experiment.model_copy(update={"federation": federation})
        number, best = self._trained(experiment, sites)
        network, store = self.networks.build(experiment)
        told: dict[str, Any] = {"round": number}
        for name in (*sites, CENTRE):
            found, _ = predict(
                network, store, self.tests[name], derive_seed(1, "test", name), repeats=in_use(experiment)
            )
            told[name] = _kept(found)
        if not weigh_by:
            told |= {at_home(name): self._personal(experiment, name, best) for name in sites}
        return told

    def _trained(self, experiment: Experiment, sites: Mapping[str, SiteImages]) -> tuple[int | None, Weights]:
        """The round, and its weights, which are left in the whole network: of heads the selected one; of whole runs the
        last, for the central images would choose for those alone by classes that they do not have."""
        if isinstance(self.networks, HeadsNetworks):
            heads = HeadsRun(experiment, sites, self.networks, self.central)
            heads.run(every=2)
            return heads.selection.best_round, heads.best
        path = run_locally(experiment, sites, self.networks.build, keep_optimizer=len(sites) == 1)
        network, _ = self.networks.build(experiment)
        network.layout.write(SegmentLayout(keras.models.load_model(path / "model" / "last.keras")).read())
        shutil.rmtree(path)
        return experiment.training.num_rounds, network.layout.read()

    def _personal(self, experiment: Experiment, name: str, best: Weights) -> dict[str, Any]:
        """What a hospital's own model says of its test images, after further training there."""
        images = self.sites[name]
        network, store = self.networks.build(experiment, images.modalities)
        network.layout.write({name: best[name] for name in segments_of(network.modalities) if name in best})
        seed = derive_seed(experiment.seed, "personalise", name)
        done = personalise(network, store, images.splits["train"], images.splits["valid"], seed)
        seed = derive_seed(1, "test", name)
        found, _ = predict(network, store, self.tests[name], seed, repeats=in_use(experiment))
        return {"kept": done.kept, "valid_loss": done.valid_loss} | _kept(found)

    def resamples(self, told: Mapping[str, Any], test: str, at: str | None = None) -> dict[str, Resamples]:
        images, labels, found = self.tests[test], self.experiment.labels, {}
        told = told[at or test]
        if len(images.xray):
            disease = np.array(told["disease"], np.float32)
            xray = finding_answers(images.xray.targets, disease, labels.findings, 0.5, images.xray.patients)
            found["disease"] = resampled(xray, SAMPLES, 1)
        if len(images.ct):
            cancer = np.array(told["cancer"], np.float32)
            ct = class_answers(images.ct.targets, cancer, labels.cancer_classes, images.ct.patients)
            found["cancer"] = resampled(ct, SAMPLES, 1)
        return found


def rows(bench: Bench, runs: Mapping[str, Any], seeds: range, alone: Collection[str]) -> Iterator[str]:
    yield "| test images of | score | together | at home | alone | together less alone | at home less alone |"
    yield "|---|---|---|---|---|---|---|"

    @cache
    def arm(name: str, test: str, at: str | None = None) -> list[dict[str, Resamples]]:
        return [bench.resamples(runs[f"{seed} {name}"], test, at) for seed in seeds]

    for test in bench.tests:
        for title, score in SCORES.items():
            if score[0] not in arm(TOGETHER, test)[0]:
                continue
            joined = figure_of(arm(TOGETHER, test), score)
            cells = [with_interval(joined, seeds=True), "", "", "", ""]
            if test != CENTRE:
                own = figure_of(arm(TOGETHER, test, at_home(test)), score)
                cells[1] = with_interval(own)
            if test in alone:
                models = arm(TOGETHER, test), *(arm(name, test, at_home(test)) for name in (TOGETHER, test))
                single = figure_of(models[2], score)
                cells[2:] = [with_interval(single)]
                less = [compared(of, models[2], score)["difference"] for of in models[:2]]
                cells += [signed(value) for value in less]
            yield f"| {test} | {title} | {' | '.join(cells)} |"


def strategy_rows(bench: Bench, runs: Mapping[str, Any], seeds: range, strategies: Sequence[str]) -> Iterator[str]:
    """Of the centre's test images, and the paired differences from the first strategy."""
    yield "| strategy | " + " | ".join(f"{title} | less {strategies[0]}" for title in SCORES) + " |"
    yield "|---" * (1 + 2 * len(SCORES)) + "|"
    scored = {name: [bench.resamples(runs[f"{seed} {name}"], CENTRE) for seed in seeds] for name in strategies}
    for name, found in scored.items():
        cells = []
        for score in SCORES.values():
            value, less = figure_of(found, score), compared(found, scored[strategies[0]], score)["difference"]
            cells += [with_interval(value), "" if name == strategies[0] else signed(less)]
        yield f"| {name} | {' | '.join(cells)} |"


def at_home(name: str) -> str:
    return f"{name} at home"


def _kept(found: Predictions) -> dict[str, Any]:
    return {"disease": np.round(found.disease, 4).tolist(), "cancer": np.round(found.cancer, 4).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--alone", nargs="*", metavar="NAME", help="hospitals trained alone too; without, all of them")
    parser.add_argument("--strategies", nargs="+", metavar="NAME/WEIGH_BY", help="Only these, together.")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/natural.json"))
    arguments = parser.parse_args()
    seeds, out = range(1, arguments.seeds + 1), arguments.out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(load_experiment(arguments.config, arguments.overrides, base=Path.cwd()), out.parent)
    settings = bench.experiment.model_dump(mode="json", exclude={"output", "data"})
    alone = bench.sites if arguments.alone is None else arguments.alone
    arms = arguments.strategies or (TOGETHER, *alone)
    runs = study(arguments.out, settings, [f"{seed} {arm}" for seed in seeds for arm in arms], bench.run)
    if arguments.strategies:
        print(*strategy_rows(bench, runs, seeds, arms), sep="\n")
    else:
        print(*rows(bench, runs, seeds, alone), sep="\n")


if __name__ == "__main__":
    main()
