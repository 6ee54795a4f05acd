"""What differential privacy of patients costs: macro ROC-AUC on the central test images against epsilon.

    python benchmarks/privacy.py configs/private.yaml --output privacy.json
    python benchmarks/privacy.py configs/private.yaml --attack

Both mechanisms at epsilon 1, 3, 8 and 32, and the same heads trained as usual (Adam, --rate), five seeds each, the
model of the last round. The hospitals take their turns in this process: a simulation's own steps and sums
(``rounds_in_one_place``), of which tests/client/test_private.py holds that they have the same bits, without messages.
Findings with fewer than --fewest positives among the test images are left out of the mean: with one, chance alone moves
it by several hundredths. Intervals resample the test patients and are of the mean over the seeds.

With --attack, in place of that, what the models tell of who was trained on: sixteen runs each of the same rounds on
half of every hospital's patients, and LiRA on the first of them with the others as its references.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

from fedthorax.common.algorithms.branchwise import FederatedAverage  # noqa: E402  after TensorFlow has been told
from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.config.load import absolute, load_experiment  # noqa: E402
from fedthorax.common.ground.seeds import derive_seed  # noqa: E402
from fedthorax.common.hospital.images import ImageSet, SplitImages  # noqa: E402
from fedthorax.common.hospital.site import load_hospital  # noqa: E402
from fedthorax.common.leakage.figures import membership  # noqa: E402
from fedthorax.common.leakage.found import Area, Share  # noqa: E402
from fedthorax.common.leakage.membership import LIRA_RUNS  # noqa: E402
from fedthorax.common.leakage.pool import Members, PoolFeatures, gather  # noqa: E402
from fedthorax.common.leakage.references import KINDS, Answers, margins, memberships  # noqa: E402
from fedthorax.common.metrics.intervals import resampled  # noqa: E402
from fedthorax.common.metrics.resampling import percentile_interval  # noqa: E402
from fedthorax.common.privacy.plan import plan_of  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.fit import fit  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.private_step import PrivateHeads  # noqa: E402
from fedthorax.common.training.projection import set_projection  # noqa: E402
from fedthorax.common.training.schedule import plan_round  # noqa: E402
from fedthorax.common.training.scoring import Repeats, answers_of, predict  # noqa: E402
from tests.private_rounds import rounds_in_one_place  # noqa: E402

EPSILONS, MECHANISMS = (1.0, 3.0, 8.0, 32.0), ("distributed", "local")
SAMPLES = 1000
Values = NDArray[np.float64]


class Study:
    def __init__(self, path: Path, rate: float, fewest: int) -> None:
        self.path, self.rate = path, rate
        self.base = absolute(load_experiment(path))
        self.network = Network(self.base)
        self.store = FeatureStore(self.network, self.base.data.cache.folder)
        self.hospitals = {name: load_hospital(self.base, name).splits["train"] for name in self.base.data.hospitals}
        central = load_hospital(self.base, "central").splits
        self.valid, self.test = central["valid"], central["test"]
        set_projection(self.network, self.store, self.valid)
        self.start = self.network.layout.read(self.network.trained_segments("heads"))
        self.pool = gather(self.base, [*self.base.data.hospitals], self.store)
        self.heads = PrivateHeads(self.network, plan_of(self.base).privacy.clip)
        self.patients = {name: self.heads.patients(self.store, train) for name, train in self.hospitals.items()}
        positives = np.nansum(self.test.xray.targets, axis=0)
        self.findings = [place for place, count in enumerate(positives) if count >= fewest]

    def private(self, mechanism: str, epsilon: float, seed: int) -> Experiment:
        assert self.base.privacy is not None
        privacy = self.base.privacy.model_dump(mode="json") | {"mechanism": mechanism, "epsilon": epsilon}
        masks = str(mechanism == "distributed").lower()
        changes = [f"privacy={json.dumps(privacy)}", f"seed={seed}", f"federation.secure_aggregation={masks}"]
        return absolute(load_experiment(self.path, changes))

    def privately(self, experiment: Experiment, members: Members | None = None) -> None:
        """``members`` of the pool are trained on; None: all."""
        training = experiment.training
        rates = [plan_round(training, number + 1).learning_rate for number in range(training.num_rounds)]
        patients = self.patients
        if members is not None:
            inside = {name for images, rows in self._rows() for name in np.array(images.patients)[members[rows]]}
            patients = {
                site: of.only([place for place, name in enumerate(of.names) if f"{site}/{name}" in inside])
                for site, of in self.patients.items()
            }
        for weights in rounds_in_one_place(experiment, self.heads, self.start, patients, rates):
            self.network.layout.write(weights)

    def _rows(self) -> list[tuple[ImageSet, NDArray[np.int64]]]:
        return [(self.pool.sets[kind], self.pool.rows[kind]) for kind in self.pool.sets]

    def as_usual(self, seed: int, members: Members | None = None) -> None:
        """The same heads by Adam, averaged by the hospitals' numbers of pairs."""
        store, hospitals = self.store, self.hospitals
        if members is not None:
            at = np.array(self.pool.hospitals)
            store = PoolFeatures(self.network, self.pool)
            hospitals = {name: self.pool.images_of(members & (at == name)) for name in hospitals}
        training, weights = self.base.training, dict[str, Any](self.start)
        nothing = SplitImages(*(hospitals["north"].of(side) for side in ("xray", "ct")))
        for number in range(1, training.num_rounds + 1):
            plan = plan_round(training, number)
            rate = self.rate * plan.learning_rate / plan_round(training, 1).learning_rate
            mean = FederatedAverage({name: values.size for name, values in self.start.items()})
            for name, train in hospitals.items():
                self.network.layout.write(weights)
                told = fit(
                    self.network, store, train, nothing, plan.phase, rate, derive_seed(seed, "fit", name, number)
                )
                mean.add(self.network.layout.read(weights), told.pairs)
            weights = mean.result(weights)
        self.network.layout.write(weights)

    def scored(self, split: SplitImages) -> dict[str, Values]:
        """Macro ROC-AUC of the network's weights on ``split`` and on its resamples, by kind of image."""
        labels = self.base.labels
        said = predict(self.network, self.store, split, 1, keep_features=True, repeats=Repeats(1, 1))[0]
        names = [labels.findings[place] for place in self.findings]
        answers = answers_of(self.base, split, said)
        areas = {"xray": answers["disease"].of_labels(names), "ct": answers["cancer"]}
        return {kind: resampled(of_kind, SAMPLES, 1).values["macro", "roc_auc"] for kind, of_kind in areas.items()}


def arms(study: Study, seeds: int) -> Iterator[tuple[str, float | None, int, dict[str, Values], float]]:
    for seed in range(1, seeds + 1):
        study.as_usual(seed)
        yield "none", None, seed, study.scored(study.test), 0.0
    for mechanism, epsilon, seed in itertools.product(MECHANISMS, EPSILONS, range(1, seeds + 1)):
        experiment = study.private(mechanism, epsilon, seed)
        study.privately(experiment)
        yield mechanism, epsilon, seed, study.scored(study.test), plan_of(experiment).noise


def attacks(study: Study) -> None:
    """One line an arm and kind of image, of patients."""
    chosen = memberships(len(study.pool), LIRA_RUNS, 1)
    print(f"{'mechanism':12} {'epsilon':>7}  images  {'found at 1 % false ones':>24} {'ROC-AUC':>24}  almost surely")
    for mechanism, epsilon in [("none", None), *itertools.product(MECHANISMS, EPSILONS)]:
        runs = []
        for number, members in enumerate(chosen):
            if epsilon is None:
                study.as_usual(number, members)
            else:
                study.privately(study.private(mechanism, epsilon, number), members)
            runs.append(Answers(members, margins(study.network, study.pool)))
        for kind in KINDS:
            told = membership(study.pool, kind, {}, None, runs, 1)
            assert told is not None
            lira, surely = told.attacks["lira"], told.patients.almost_surely
            print(
                f"{mechanism:12} {epsilon or '':>7}  {kind:6}  {_words(lira.found, 100):>24} {_words(lira.area):>24}  "
                f"{surely.hits} of {surely.of}; {told.members} in, {told.others} out",
                flush=True,
            )


def _words(told: Share | Area, times: int = 1) -> str:
    low, high = told.interval or (np.nan, np.nan)
    digits = 1 if times > 1 else 3
    return f"{(told.value or 0) * times:.{digits}f} ({low * times:.{digits}f}-{high * times:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--rate", type=float, default=0.003, help="Adam's, without privacy")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fewest", type=int, default=10, help="positives of a finding among the test images")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--attack", action="store_true", help="what the models tell, in place of what they are worth")
    given = parser.parse_args()
    started = time.monotonic()
    study = Study(given.config, given.rate, given.fewest)
    if given.attack:
        attacks(study)
        print(f"{time.monotonic() - started:.0f} s")
        return
    print(f"{study.heads.size} values are trained; {len(study.findings)} findings")
    found: dict[tuple[str, float | None], list[dict[str, Values]]] = {}
    noise: dict[tuple[str, float | None], float] = {}
    for mechanism, epsilon, seed, values, multiplier in arms(study, given.seeds):
        found.setdefault((mechanism, epsilon), []).append(values)
        noise[mechanism, epsilon] = multiplier
        print(mechanism, epsilon, seed, {kind: round(float(each[0]), 4) for kind, each in values.items()}, flush=True)
    rows = [row for key in found for row in _rows(key, found, noise[key], study.test)]
    print(f"\n{'mechanism':12} {'epsilon':>7} {'noise':>6}  {'images':6} {'ROC-AUC':>24} {'seeds':>13} {'lost':>26}")
    for row in rows:
        low, high = row["interval"]
        lost = (
            ""
            if row["lost"] is None
            else f"{row['lost']:.3f} ({row['lost_interval'][0]:.3f} to {row['lost_interval'][1]:.3f})"
        )
        print(
            f"{row['mechanism']:12} {row['epsilon'] or '':>7} {row['noise'] or '':>6}  {row['images']:6} "
            f"{row['roc_auc']:.3f} ({low:.3f} to {high:.3f}) {min(row['seeds']):.3f}-{max(row['seeds']):.3f} {lost:>26}"
        )
    print(f"{time.monotonic() - started:.0f} s")
    if given.output is not None:
        given.output.write_text(json.dumps({"rows": rows, "privacy": study.base.privacy.model_dump()}, indent=1) + "\n")


def _rows(
    key: tuple[str, float | None], found: dict[tuple[str, float | None], list[dict[str, Values]]], noise: float,
    test: SplitImages,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    for kind in ("xray", "ct"):
        people = len(set(test.of(kind).patients))
        mean = np.mean([values[kind] for values in found[key]], axis=0)
        usual = np.mean([values[kind] for values in found["none", None]], axis=0)
        yield {
            "mechanism": key[0],
            "epsilon": key[1],
            "noise": noise,
            "images": kind,
            "roc_auc": float(mean[0]),
            "interval": percentile_interval(mean, people)[0],
            "seeds": [float(values[kind][0]) for values in found[key]],
            "lost": None if key[0] == "none" else float(usual[0] - mean[0]),
            "lost_interval": None if key[0] == "none" else percentile_interval(usual - mean, people)[0],
        }


if __name__ == "__main__":
    main()
