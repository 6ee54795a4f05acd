"""Are honest updates put aside, and are wild ones, on real images dealt out to very unequal hospitals?

    make real
    python benchmarks/update_claims.py configs/real.yaml --set training.threads=1
    python benchmarks/update_claims.py configs/real.yaml --set training.threads=1 --set federation.codec=int4

The arms are layouts of unequal_hospitals.py, twelve rounds of the heads each, two seeds with two learning rates. Of
every update it measures how far its farthest value went, as a share of what Adam can do, by how much its pace differs
from the median of its round, and the cosine of its step with the mean of the others'; then it prints how many of them
the rules of server/claims.py and server/steps.py put aside, and how many of the same updates times 100, all zeros, with
other signs, and with a step turned round. With a codec that rounds, an update is what the server reads of it, and what
was left out is added to the hospital's next. With two hospitals there is no comparison, so the first rule is counted
alone too.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from heads_federation import HeadsRun
from unequal_hospitals import Bench

from fedthorax.common.algorithms.algorithm import Update
from fedthorax.common.model.segments import Weights
from fedthorax.common.training.schedule import plan_round
from fedthorax.common.wire.segment import pack_rounded
from fedthorax.server.claims import check_step
from fedthorax.server.steps import FEWEST, adam_reach, far_from_others, measured

ARMS = ("equal-4/branches", "lacking/branches", "dirichlet/branches", "labels/branches", "hannover/branches")
ROUNDS = 12
SKETCH = 4096  # sums of the step with random signs: a cosine is off by about 1 / sqrt(SKETCH)
ATTACKS = {
    "as it came": lambda new, old: new,
    "times 100": lambda new, old: old + 100 * (new - old),
    "times 2": lambda new, old: old + 2 * (new - old),
    "all zeros": lambda new, old: np.zeros_like(new),
    "signs of the weights turned": lambda new, old: -new,
    "step turned round": lambda new, old: 2 * old - new,
}


class Watched(HeadsRun):
    """Measures every update against the weights that it started from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.found: dict[int, dict[str, dict]] = defaultdict(dict)
        self._left_out: dict[tuple[str, str], np.ndarray] = {}  # by hospital and segment

    def _update(self, site: str, number: int, weights: Weights, told: Weights):
        update = super()._update(site, number, weights, told)
        images, training = self.sites[site], self.experiment.training
        modalities = images.modalities if self.experiment.model.absent == "token" else ("xray", "ct")
        layout = self.networks.build(self.experiment, modalities)[0].layout
        plan = plan_round(training, number)
        steps = plan.phase.local_epochs * -(-update.num_pairs // training.batch_size)
        claim = SimpleNamespace(num_pairs=update.num_pairs, told=SimpleNamespace(train=SimpleNamespace(steps=steps)))
        if self.experiment.federation.rounds_weights:
            update = self._as_read(update, weights, layout)
        told_of = {}
        for name, change in ATTACKS.items():
            changed = {segment: change(new, weights[segment]) for segment, new in update.weights.items()}
            step = measured({s: v.astype(np.float32) for s, v in changed.items()}, weights, layout)
            told_of[name] = {
                "step": step,
                "refused": self._refused(step, claim, plan),
                "paces": step.paces(steps),
            }
        share = told_of["as it came"]["step"].farthest / (plan.learning_rate * adam_reach(steps))
        self.found[number][site] = {"attacks": told_of, "share": share, "sketch": _sketch(update.weights, weights)}
        return update

    def _as_read(self, update: Update, weights: Weights, layout) -> Update:
        read = {}
        for name, values in update.weights.items():
            left = self._left_out.get((update.site, name))
            packed = pack_rounded(
                self.experiment.federation.codec, values, weights[name], "0" * 64, layout.exact(name), left
            )
            read[name], self._left_out[update.site, name] = packed.values, packed.residual
        return replace(update, weights=read)

    def _refused(self, step, claim, plan) -> bool:
        try:
            check_step(step, claim, self.experiment, plan)
        except ValueError:
            return True
        return False


def _sketch(update: Weights, before: Weights) -> np.ndarray:
    total = np.zeros(SKETCH)
    for number, segment in enumerate(sorted(before)):
        if segment in update:
            step = (update[segment] - before[segment]).astype(np.float64)
            signs = np.random.default_rng(number).integers(0, 2, step.size) * 2 - 1
            total += np.pad(step * signs, (0, -step.size % SKETCH)).reshape(-1, SKETCH).sum(axis=0)
    return total


class Nothing:
    """In place of the central images: nothing is selected here."""

    def validate(self, *rest):
        head = {"macro": {"roc_auc": 0.5}}
        return {"disease": head, "cancer": head, "loss": 1.0}

    def normalise(self, *rest):
        """FedBN is no arm."""


def _times_from_median(paces: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By hospital the most over the parts of the model that it and two others sent."""
    apart = dict.fromkeys(paces, 1.0)
    for part in {part for own in paces.values() for part in own}:
        sent = {site: own[part] for site, own in paces.items() if part in own}
        usual = statistics.median(sent.values())
        for site, pace in sent.items() if len(sent) >= FEWEST else ():
            apart[site] = max(apart[site], pace / usual, usual / pace)
    return apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/update_claims"))
    parser.add_argument("--arms", nargs="+", default=ARMS)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(chosen.config, chosen.sets, chosen.images, chosen.out)
    shares, factors, cosines, growth = [], [], [], 1.0
    caught: dict[str, dict[str, int]] = {name: {"alone": 0, "or by the others": 0} for name in ATTACKS}
    number = 0
    for arm in chosen.arms:
        lowest, worst = 1.0, 1.0
        for seed, rate in ((1, 1e-3), (2, 3e-4)):
            experiment = bench.experiment(arm, seed, rate)
            bench.prepare(arm)
            (phase,) = experiment.training.phases
            phases = (phase.model_copy(update={"rounds": ROUNDS}),)
            experiment = experiment.model_copy(
                update={"training": experiment.training.model_copy(update={"phases": phases})}
            )
            run = Watched(experiment, bench.images_of(arm), bench.networks, Nothing())
            run.run(ROUNDS + 1)
            for sites in run.found.values():
                paces = {site: found["attacks"]["as it came"]["paces"] for site, found in sites.items()}
                apart = _times_from_median(paces)
                units = {site: found["sketch"] / np.linalg.norm(found["sketch"]) for site, found in sites.items()}
                for site, found in sites.items():
                    number += 1
                    shares.append(found["share"])
                    factors.append(apart[site])
                    others = sum(unit for name, unit in units.items() if name != site)
                    cosines.append(float(units[site] @ others / np.linalg.norm(others)))
                    growth = max(growth, found["attacks"]["as it came"]["step"].grown[0])
                    lowest, worst = min(lowest, cosines[-1]), max(worst, factors[-1])
                    for name, told in found["attacks"].items():
                        alone = told["refused"]
                        compared = site in far_from_others({**paces, site: told["paces"]}, 3.0)
                        caught[name]["alone"] += alone
                        caught[name]["or by the others"] += alone or compared
        print(f"{arm}: pace at most {worst:.2f} times from the median, cosine at least {lowest:.2f}", flush=True)
    print(f"{number} updates; farthest value {min(shares):.3f} to {max(shares):.4f} of what Adam can do")
    print(f"pace at most {max(factors):.2f} times from the median of the round")
    print(f"cosine with the others' mean: median {np.median(cosines):.2f}, {min(cosines):.2f} to {max(cosines):.2f}")
    print(f"a moving variance grew by at most {growth:.0f} times")
    for name, counts in caught.items():
        print(f"{name}: put aside {counts['alone']} alone, {counts['or by the others']} beside the others, of {number}")


if __name__ == "__main__":
    main()
