"""Heads alone against fine-tuned, on patients that chose nothing: hospitals together, pooled, and each alone.

    python benchmarks/fine_tuning.py configs/nih-128.yaml --seeds 3

The arms are runs of the product in this process (local_runs.py), with the same rounds, rates and steps. Of each the
best model of the first phase (`heads`) and that of all phases is scored, chosen by central validation. One JSON file
holds what they say of the test images; after a stop the command goes on. In the tables: macro ROC-AUC of the findings
with ten positives or more in the test, means over seeds with 95 % intervals that resample patients and seeds,
differences and ratios on the same of both. The arm `logistic` is a logistic regression on the frozen features of all
hospitals' images, its penalty chosen on central validation as a round is.
"""

import argparse
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from chest_heads import study
from linear_probe import LinearProbe
from local_runs import (
    DISEASE,
    SAMPLES,
    SINGLE_PAIR,
    CentralData,
    Experiment,
    Networks,
    compared,
    figure_of,
    load_hospitals,
    predictions_on_test,
    run_locally,
    signed,
    with_interval,
)

from fedthorax.common.config.load import load_experiment
from fedthorax.common.metrics.answers import finding_answers
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.intervals import Resamples, resampled
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.selection import selection_value
from fedthorax.simulations.centralised import POOLED, pool_sites

TOGETHER, PROBE = "together", "logistic"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # scikit-learn's C
HEADS, TUNED = "heads", "fine-tuned"
LEAST = 10  # positives in the test: one alone would weigh as much in the mean as three hundred of another finding


class Bench:
    def __init__(self, experiment: Experiment, out: Path) -> None:
        self.experiment, self.out = experiment, out
        self.sites, self.central = load_hospitals(experiment), CentralData(experiment)
        self.build = Networks().build

    def run(self, key: str) -> dict[str, Any]:
        """Train an arm; what its models say of the central test, and the validation of every round."""
        seed, arm = key.split()
        if arm == PROBE:
            return self._probe()
        rounds = self.experiment.training.num_rounds
        output = self.experiment.output.model_copy(update={"folder": self.out, "keep_checkpoints": rounds + 1})
        experiment = self.experiment.model_copy(
            update={"name": f"{arm}-seed{seed}", "seed": int(seed), "output": output}
        )
        sites = (
            self.sites if arm == TOGETHER else {arm: self.sites.get(arm) or pool_sites(POOLED, [*self.sites.values()])}
        )
        path = run_locally(experiment, sites, self.build, keep_optimizer=arm != TOGETHER)
        checkpoints = Checkpoints(RunFolder.load(path).checkpoints, rounds + 1)
        record = checkpoints.latest()[0]
        chosen_by = experiment.evaluation.selection_metric, experiment.evaluation.selection_weights
        scores = [selection_value(entry["central"], *chosen_by) for entry in record.record["rounds"]]
        of_heads = scores[: experiment.training.phases[0].rounds + 1]
        told: dict[str, Any] = {"validation": scores}
        network, store = self.build(experiment)
        for name, number in (
            (HEADS, max(range(len(of_heads)), key=lambda each: of_heads[each] or 0.0)),
            (TUNED, record.selection.best_round or 0),
        ):
            network.layout.write(checkpoints.load(number).weights)
            found = predictions_on_test(network, store, self.central, SINGLE_PAIR).disease
            told[name] = {"round": number, "disease": np.round(found, 4).tolist()}
        shutil.rmtree(RunFolder.load(path).checkpoints)
        return told

    def _probe(self) -> dict[str, Any]:
        experiment, (_, store), valid = self.experiment, self.build(self.experiment), self.central.valid.xray
        probe = LinearProbe(store, pool_sites(POOLED, [*self.sites.values()]).splits["train"], 0)
        worth = {}
        for strength in STRENGTHS:
            found = probe.findings(valid, strength)
            answers = finding_answers(valid.targets, found, experiment.labels.findings, 0.5, valid.patients)
            scores = {"disease": head_scores(answers), "cancer": {"per_class": {}}}
            worth[strength] = selection_value(scores, "disease_roc_auc", "certainty") or 0.0
        best = max(worth, key=lambda each: worth[each])
        found = np.round(probe.findings(self.central.test.xray, best), 4).tolist()
        return {"validation": worth} | {key: {"strength": best, "disease": found} for key in (HEADS, TUNED)}

    def resamples(self, told: dict[str, Any], model: str) -> dict[str, Resamples]:
        xray, disease = self.central.test.xray, np.array(told[model]["disease"], np.float32)
        often = (xray.targets == 1).sum(axis=0) >= LEAST
        findings = [name for name, one in zip(self.experiment.labels.findings, often, strict=True) if one]
        answers = finding_answers(xray.targets[:, often], disease[:, often], findings, 0.5, xray.patients)
        return {"disease": resampled(answers, SAMPLES, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--arms", nargs="+", help="together, pooled, logistic, or a hospital's name; without, all of them"
    )
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/fine-tuning"))
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.config, arguments.overrides, base=Path.cwd())
    bench = Bench(experiment, arguments.out.absolute())
    arms = arguments.arms or [TOGETHER, POOLED, PROBE, *bench.sites]
    settings = experiment.model_dump(mode="json", exclude={"output", "data"})
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs = study(
        arguments.out / "study.json", settings, [f"{s} {arm}" for s in arguments.seeds for arm in arms], bench.run
    )

    @cache
    def scored(arm: str, model: str) -> list[dict[str, Resamples]]:
        return [bench.resamples(runs[f"{seed} {arm}"], model) for seed in arguments.seeds]

    print("| arm | heads alone | fine-tuned | fine-tuned less heads |\n|---|---|---|---|")
    for arm in arms:
        cells = []
        for model in (HEADS, TUNED):
            value = figure_of(scored(arm, model), DISEASE)
            cells.append(with_interval(value, seeds=True))
        cells.append(signed(compared(scored(arm, TUNED), scored(arm, HEADS), DISEASE)["difference"]))
        print(f"| {arm} | {' | '.join(cells)} |")
    print("\n| fine-tuned | ratio | difference |\n|---|---|---|")
    for arm in arms[1:]:
        pair = compared(scored(arms[0], TUNED), scored(arm, TUNED), DISEASE)
        print(f"| {arms[0]} against {arm} | {with_interval(pair['ratio'])} | {signed(pair['difference'])} |")


if __name__ == "__main__":
    main()
