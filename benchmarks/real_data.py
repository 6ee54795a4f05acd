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
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_runs import (
    ACCURACY,
    CANCER,
    DISEASE,
    SINGLE_PAIR,
    Networks,
    central_without,
    compared,
    figure_of,
    load_hospitals,
    predictions_of,
    resamples_of,
    run_locally,
    selected,
)

from benchmarks.linear_probe import LinearProbe
from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.training.scoring import Predictions, answers_of
from fedthorax.server.central import CentralData
from fedthorax.simulations.centralised import POOLED, pool_sites

PROBE = "logistic regression"
TUNING_SEED = 0
STRENGTHS = (1e-3, 1e-2, 1e-1)


@dataclass
class Bench:
    """Images and one network for all arms and seeds; the hospitals' splits are drawn once, from the file's seed."""

    experiment: Experiment
    out: Path

    def __post_init__(self) -> None:
        self.sites = load_hospitals(self.experiment)
        self.sites[POOLED] = pool_sites(POOLED, list(self.sites.values()))
        self.build = Networks().build

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
        federated = arm == "federated"
        names = tuple(self.experiment.data.hospitals) if federated else (arm,)
        sites = {name: self.sites[name] for name in names}
        return run_locally(experiment, sites, self.build, keep_optimizer=not federated)


def logistic_regression(bench: Bench) -> tuple[dict[str, float], dict[int, Predictions], CentralData]:
    """The probe's strengths as chosen on validation, and its predictions on the test split by number of views."""
    experiment = bench.experiment
    _, store = bench.build(experiment)
    central = central_without(experiment, [bench.sites[POOLED]])
    probe = LinearProbe(store, bench.sites[POOLED].splits["train"], len(experiment.labels.cancer_classes))
    valid = central.valid
    best: dict[str, tuple[float, float]] = {}
    for strength in STRENGTHS:
        predictions = probe.predict(valid, strength, strength)
        answers = answers_of(experiment, valid, predictions)
        areas = {task: head_scores(of_task)["macro"]["roc_auc"] for task, of_task in answers.items()}
        for task, value in (("xray", areas["disease"]), ("ct", areas["cancer"])):
            best[task] = max(best.get(task, (-1.0, 0.0)), (value, strength))
    chosen = {task: strength for task, (_, strength) in best.items()}
    views = sorted({1, experiment.evaluation.views})
    return chosen, {n: probe.predict(central.test, chosen["xray"], chosen["ct"], n) for n in views}, central


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
    strengths, probes, central = logistic_regression(bench)
    setting = f"C {strengths['xray']:g} and {strengths['ct']:g}"
    arms, facts = {}, {}
    for views, probabilities in probes.items():
        name = PROBE if views == 1 else f"{PROBE}, {views} views"
        arms[name] = [resamples_of(probabilities, central, experiment)]
        facts[name] = {"setting": setting, "seconds": "", "memory": ""}
    averaged = dict(arms)  # the same, with every image's score the mean over several partners
    chosen = dict(each.split("=") for each in arguments.arms or ())
    for arm in chosen or ("federated", POOLED, *experiment.data.hospitals):
        tuned: dict[float, float] = {}
        if not chosen:
            tuned = {rate: selected(bench.run(arm, TUNING_SEED, rate)) for rate in arguments.rates}
            print(f"{arm}: validation by learning rate {tuned}", flush=True)
        rate = float(chosen[arm]) if chosen else max(tuned, key=lambda each: tuned[each])
        paths = [bench.run(arm, seed, rate) for seed in range(1, arguments.seeds + 1)]
        for partners, found in ((SINGLE_PAIR, arms), (arguments.partners, averaged)):
            found[arm] = []
            for path in paths:
                predictions = predictions_of(path, *bench.build(experiment), central, partners)
                found[arm].append(resamples_of(predictions, central, experiment))
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
            pair = compared(arms[first], arms[second], figure)
            key = f"{first} / {second}: {figure[0]} {' '.join(figure[1])}"
            ratios[key] = pair
            print(f"{key}: ratio {pair['ratio']['value']:.3f}, 95 % interval {pair['ratio']['interval']}")
    probes = [name for name in arms if name.startswith(PROBE)]
    for arm, probe in itertools.product([name for name in ("federated", POOLED) if name in arms], probes):
        for figure in (DISEASE, CANCER, ACCURACY):
            pair = compared(arms[arm], arms[probe] * seeds, figure)
            key = f"{arm} - {probe}: {figure[0]} {' '.join(figure[1])}"
            ratios[key] = pair
            print(f"{key}: {pair['difference']['value']:+.3f}, 95 % interval {pair['difference']['interval']}")
    return {
        "arms": {
            arm: facts[arm] | {"/".join((f[0], *f[1])): figure_of(r, f) for f in (DISEASE, CANCER, ACCURACY)}
            for arm, r in arms.items()
        },
        "compared": ratios,
    }


if __name__ == "__main__":
    main()
