"""Real X-rays and CT: federated against centralised, each hospital alone, and a logistic regression on frozen features.

    python benchmarks/real_data.py configs/real.yaml --seeds 5 --rates 1e-4 3e-4 1e-3

Every network arm is tuned in the same way: the same learning rates are tried with one seed that is not used again, and
the one with the best score on the central validation split is taken. Then each arm is trained with each seed. Figures
are those of the selected round on the central test split, which selects nothing: first with one random partner an
image, as `fedthorax predict` sees a pair and as a run's own test is, then as means over --partners of them. The
logistic regression's penalty is chosen on the same validation split, from as many values. With --arms only those are
run, at rates chosen elsewhere.

All arms run in this process over a local channel; a test shows that Flower's simulation gives the same weights.
Prints the table of docs/results.md and writes everything to --out as JSON. Finished arms are read back, not run again.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.cli.quiet import import_tensorflow, quiet_libraries

quiet_libraries()
import_tensorflow()

import keras  # noqa: E402  after TensorFlow has been told to be quiet

from fedthorax.client.residuals import Residuals  # noqa: E402
from fedthorax.client.worker import SiteWorker  # noqa: E402
from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.config.load import load_experiment  # noqa: E402
from fedthorax.common.data.pool import pool_sites  # noqa: E402
from fedthorax.common.data.site import load_site  # noqa: E402
from fedthorax.common.events import EventLog  # noqa: E402
from fedthorax.common.metrics.cancer import cancer_scores  # noqa: E402
from fedthorax.common.metrics.disease import disease_scores  # noqa: E402
from fedthorax.common.metrics.intervals import cancer_resamples, disease_resamples, paired_difference  # noqa: E402
from fedthorax.common.model.segments import SegmentLayout  # noqa: E402
from fedthorax.common.run_folder import RunFolder  # noqa: E402
from fedthorax.common.seeds import derive_seed  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.scoring import SINGLE_PAIR, Predictions, predict  # noqa: E402
from fedthorax.server.central import CentralData  # noqa: E402
from fedthorax.server.resume import OpenRun  # noqa: E402
from fedthorax.server.session import run_session  # noqa: E402
from fedthorax.simulations.baselines import LinearProbe  # noqa: E402
from fedthorax.simulations.centralised import POOLED, LocalChannel  # noqa: E402

TUNING_SEED = 0
STRENGTHS = (1e-3, 1e-2, 1e-1)
SAMPLES = 2000
DISEASE, CANCER, ACCURACY = (
    ("disease", ("macro", "roc_auc")),
    ("cancer", ("macro", "roc_auc")),
    ("cancer", ("accuracy",)),
)


@dataclass
class Bench:
    """Images and one network for all arms and seeds; the hospitals' splits are drawn once, from the file's seed."""

    experiment: Experiment
    out: Path

    def __post_init__(self) -> None:
        data, labels, size = self.experiment.data, self.experiment.labels, self.experiment.model.image_size
        self.sites = {
            name: load_site(name, data.sources_of(name), labels, data, data.splits, size, self.experiment.seed)
            for name in data.hospitals
        }
        self.sites[POOLED] = pool_sites(POOLED, [self.sites[name] for name in data.hospitals])
        self.network: Network | None = None
        self.store: FeatureStore | None = None

    def build(self, experiment: Experiment) -> tuple[Network, FeatureStore]:
        """A network for this seed and schedule; features on disk are shared, their key does not hold the seed."""
        if self.network is None or self.network.experiment != experiment:
            self.network = Network(experiment)
            self.store = FeatureStore(self.network, experiment.data.cache.folder)
        assert self.store is not None
        return self.network, self.store

    def run(self, arm: str, seed: int, rate: float) -> Path:
        """Train one arm, or find it finished; returns its run folder."""
        phases = [phase.model_copy(update={"learning_rate": rate}) for phase in self.experiment.training.phases[:1]]
        phases += self.experiment.training.phases[1:]
        training = self.experiment.training.model_copy(update={"phases": tuple(phases)})
        output = self.experiment.output.model_copy(update={"folder": self.out, "keep_checkpoints": 1})
        name = f"{arm}-seed{seed}-rate{rate:g}"
        experiment = self.experiment.model_copy(
            update={"name": name, "seed": seed, "training": training, "output": output}
        )
        path = experiment.run_folder
        if (path / "metrics.json").is_file() and RunFolder.load(path).read_metrics()["status"] == "finished":
            return path
        federated = arm == "federated"
        names = tuple(self.experiment.data.hospitals) if federated else (arm,)
        with RunFolder.create(path, overwrite=True) as folder, EventLog(None) as silent:
            worker = SiteWorker(
                lambda _, site, __: self.sites[site],
                lambda of, _: self.build(of),
                silent,
                keep_optimizer=not federated,
                residuals=Residuals(path / "own"),
            )
            run_session(experiment, names, LocalChannel(worker, names), OpenRun(folder), "train", self.build)
        return path


def selected(path: Path) -> float:
    value: float = RunFolder.load(path).read_metrics()["selection"]["value"]
    return value


def logistic_regression(bench: Bench) -> tuple[dict[str, float], Predictions, CentralData]:
    """The probe's strengths as chosen on validation, and its predictions on the test split."""
    experiment = bench.experiment
    _, store = bench.build(experiment)
    central = CentralData(experiment)
    held = {
        digest for split in bench.sites[POOLED].splits.values() for digest in (*split.xray.digests, *split.ct.digests)
    }
    central.leave_out({POOLED: [row for row, digest in enumerate(central.all_digests) if digest in held]})
    probe = LinearProbe(store, bench.sites[POOLED].splits["train"], len(experiment.labels.cancer_classes))
    labels, valid = experiment.labels, central.valid
    best: dict[str, tuple[float, float]] = {}
    for strength in STRENGTHS:
        predictions = probe.predict(valid, strength, strength)
        disease = disease_scores(valid.xray.targets, predictions.disease, labels.findings, 0.5)["macro"]["roc_auc"]
        cancer = cancer_scores(valid.ct.targets, predictions.cancer, labels.cancer_classes)["macro"]["roc_auc"]
        for task, value in (("xray", disease), ("ct", cancer)):
            best[task] = max(best.get(task, (-1.0, 0.0)), (value, strength))
    chosen = {task: strength for task, (_, strength) in best.items()}
    return chosen, probe.predict(central.test, chosen["xray"], chosen["ct"]), central


def predictions_of(path: Path, bench: Bench, central: CentralData, partners: int) -> Predictions:
    """What a run's selected model says of the images of the central test split, each with so many random partners.

    A hospital that trains alone holds fewer of the test images than all hospitals together, so fewer were left out of
    its own test; here every arm is scored on the same images.
    """
    network, store = bench.build(bench.experiment)
    model = keras.models.load_model(path / "model" / "best.keras")
    network.layout.write(SegmentLayout(model).read())
    seed = derive_seed(bench.experiment.seed, "evaluation pairs", "central", "test")
    predictions, _ = predict(network, store, central.test, seed, partners=partners)
    return predictions


def resamples_of(predictions: Predictions, central: CentralData) -> dict[str, Any]:
    labels, xray, ct = central._experiment.labels, central.test.xray, central.test.ct
    return {
        "disease": disease_resamples(
            xray.targets, predictions.disease, xray.patients, labels.findings, 0.5, SAMPLES, 1
        ),
        "cancer": cancer_resamples(ct.targets, predictions.cancer, ct.patients, labels.cancer_classes, SAMPLES, 1),
    }


def figure_of(resamples: list[dict[str, Any]], figure: tuple[str, tuple[str, ...]]) -> dict[str, Any]:
    """Mean over the seeds with the 95 % interval over patients and seeds, and each seed's value."""
    head, name = figure
    mine = [each[head] for each in resamples]
    zero = [replace(each, values={key: np.zeros_like(value) for key, value in each.values.items()}) for each in mine]
    difference = paired_difference(mine, zero, name)["difference"]
    return difference | {"seeds": [float(each.values[name][0]) for each in mine]}


def rows_of(arms: dict[str, list[dict[str, Any]]], facts: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| arm | learning rate or C | X-ray macro ROC-AUC | CT macro ROC-AUC | CT accuracy | seconds | peak MiB |"
    yield "|---|---|---|---|---|---|---|"
    for arm, resamples in arms.items():
        cells = []
        for figure in (DISEASE, CANCER, ACCURACY):
            value = figure_of(resamples, figure)
            low, high = value["interval"] or (float("nan"), float("nan"))
            seeds = value["seeds"]
            spread = f"; seeds {min(seeds):.3f}-{max(seeds):.3f}" if len(seeds) > 1 else ""
            cells.append(f"{value['value']:.3f} ({low:.3f}-{high:.3f}{spread})")
        fact = facts[arm]
        yield f"| {arm} | {fact['setting']} | {' | '.join(cells)} | {fact['seconds']} | {fact['memory']} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3])
    parser.add_argument("--arms", nargs="+", metavar="ARM=RATE", help="Only these, at a rate that was chosen before.")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--partners", type=int, default=32, help="for the second table")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/real"))
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.config, arguments.overrides, base=Path.cwd())
    bench = Bench(experiment, arguments.out.absolute())
    strengths, probabilities, central = logistic_regression(bench)
    arms = {"logistic regression": [resamples_of(probabilities, central)]}
    averaged = dict(arms)  # the same, with every image's score the mean over several partners
    setting = f"C {strengths['xray']:g} and {strengths['ct']:g}"
    facts: dict[str, dict[str, Any]] = {"logistic regression": {"setting": setting, "seconds": "", "memory": ""}}
    chosen = dict(each.split("=") for each in arguments.arms or ())
    for arm in chosen or ("federated", POOLED, *experiment.data.hospitals):
        tuned: dict[float, float] = {}
        if not chosen:
            tuned = {rate: selected(bench.run(arm, TUNING_SEED, rate)) for rate in arguments.rates}
            print(f"{arm}: validation by learning rate {tuned}", flush=True)
        rate = float(chosen[arm]) if chosen else max(tuned, key=lambda each: tuned[each])
        paths = [bench.run(arm, seed, rate) for seed in range(1, arguments.seeds + 1)]
        for partners, found in ((SINGLE_PAIR, arms), (arguments.partners, averaged)):
            found[arm] = [resamples_of(predictions_of(path, bench, central, partners), central) for path in paths]
        totals = [RunFolder.load(path).read_metrics()["totals"] for path in paths]
        seconds = sorted(total["seconds"] for total in totals)
        facts[arm] = {
            "setting": f"{rate:g}",
            "tuning": {f"{each:g}": value for each, value in tuned.items()},
            "seconds": f"{seconds[0]:.0f}-{seconds[-1]:.0f}",
            "memory": f"{max(total['peak_memory_mb']['server'] for total in totals):.0f}",
        }
    summary: dict[str, Any] = {
        "test": {"xray": len(central.test.xray), "ct": len(central.test.ct), "left_out": len(central.left_out)}
    }
    for partners, found in ((SINGLE_PAIR, arms), (arguments.partners, averaged)):
        print(f"\nEach image with {partners} partner(s)")
        summary[str(partners)] = compared_arms(found, facts, arguments.seeds, bench.experiment)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


def compared_arms(
    arms: dict[str, list[dict[str, Any]]], facts: dict[str, dict[str, Any]], seeds: int, experiment: Experiment
) -> dict[str, Any]:
    """Print the table and the comparisons on the same patients and seeds; returns all figures."""
    print("\n".join(rows_of(arms, facts)))
    pairs = [
        ("federated", other) for other in (POOLED, *experiment.data.hospitals) if {"federated", other} <= set(arms)
    ]
    ratios: dict[str, Any] = {}
    for first, second in pairs:
        for figure in (DISEASE, CANCER, ACCURACY):
            compared = paired_difference(
                [r[figure[0]] for r in arms[first]], [r[figure[0]] for r in arms[second]], figure[1]
            )
            key = f"{first} / {second}: {figure[0]} {' '.join(figure[1])}"
            ratios[key] = compared
            print(f"{key}: ratio {compared['ratio']['value']:.3f}, 95 % interval {compared['ratio']['interval']}")
    probe = arms["logistic regression"] * seeds
    for arm in [name for name in ("federated", POOLED) if name in arms]:
        for figure in (DISEASE, CANCER, ACCURACY):
            compared = paired_difference([r[figure[0]] for r in arms[arm]], [r[figure[0]] for r in probe], figure[1])
            key = f"{arm} - logistic regression: {figure[0]} {' '.join(figure[1])}"
            ratios[key] = compared
            print(f"{key}: {compared['difference']['value']:+.3f}, 95 % interval {compared['difference']['interval']}")
    return {
        "arms": {
            arm: facts[arm] | {"/".join((f[0], *f[1])): figure_of(r, f) for f in (DISEASE, CANCER, ACCURACY)}
            for arm, r in arms.items()
        },
        "compared": ratios,
    }


if __name__ == "__main__":
    main()
