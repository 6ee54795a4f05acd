"""Heads first on kept features and then everything, beside fine-tuning everything from the start, on the real data.

    make real
    python benchmarks/schedules.py configs/real.yaml --seeds 3 --set model.image_size=112 --set evaluation.views=1

Federated runs with the product's own rounds (see local_runs.py), from the pretrained backbones: ``heads`` trains the
heads alone for --heads rounds; ``heads, all`` goes on with everything for --all rounds; ``all`` fine-tunes everything
from the start for as many rounds of everything; ``all, longer`` for as many as the second has of both kinds together.
Each at the rates of --rates, chosen by the central validation figure over all seeds. Prints scores of the selected
models on the central test split, one partner an image, with 95 % intervals over patients and seeds, the paired
differences to ``all``, and the seconds that the rounds took.
"""

import argparse
import statistics
from pathlib import Path

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

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.record.run_folder import RunFolder

FIGURES = {"X-ray macro ROC-AUC": DISEASE, "CT macro ROC-AUC": CANCER, "CT accuracy": ACCURACY}
PLAIN = "all"


def arms_of(heads: int, everything: int, rate: float, heads_rate: float) -> dict[str, tuple[PhaseConfig, ...]]:
    first = PhaseConfig(rounds=heads, trainable="heads", learning_rate=heads_rate)

    def whole(rounds: int) -> PhaseConfig:
        return PhaseConfig(rounds=rounds, trainable="all", learning_rate=rate)

    return {
        PLAIN: (whole(everything),),
        "heads, all": (first, whole(everything)),
        "all, longer": (whole(heads + everything),),
        "heads": (first,),
    }


class Schedules:
    """Runs of one experiment with other phases and seeds, on images that are read once."""

    def __init__(self, experiment: Experiment, out: Path) -> None:
        self._experiment, self._out = experiment, out
        self._sites = load_hospitals(experiment)
        self.central = central_without(experiment, self._sites.values())
        self.build = Networks().build

    def run(self, name: str, phases: tuple[PhaseConfig, ...], seed: int) -> Path:
        """Train, or find it finished; returns the run folder."""
        training = self._experiment.training.model_copy(update={"phases": phases})
        output = self._experiment.output.model_copy(update={"folder": self._out, "keep_checkpoints": 1})
        changed = {"name": f"{name}-seed{seed}", "seed": seed, "training": training, "output": output}
        return run_locally(self._experiment.model_copy(update=changed), self._sites, self.build)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--all", type=int, default=4, dest="everything")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4])
    parser.add_argument("--heads-rate", type=float, default=1e-3)
    parser.add_argument("--arms", nargs="+", default=[PLAIN, "heads, all", "heads"])
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/schedules"))
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.config, arguments.overrides, base=Path.cwd())
    schedules = Schedules(experiment, arguments.out.absolute())
    found, seconds, rates = {}, {}, {}
    for arm in arguments.arms:
        by_rate: dict[float, list[Path]] = {}
        for rate in arguments.rates:
            phases = arms_of(arguments.heads, arguments.everything, rate, arguments.heads_rate)[arm]
            name = f"{arm.replace(', ', '-')}-{arguments.heads}-{arguments.everything}-rate{rate:g}"
            by_rate[rate] = [schedules.run(name, phases, seed) for seed in range(1, arguments.seeds + 1)]
        rates[arm] = max(by_rate, key=lambda rate: statistics.mean(map(selected, by_rate[rate])))
        paths = by_rate[rates[arm]]
        found[arm] = [
            resamples_of(
                predictions_of(path, *schedules.build(experiment), schedules.central, SINGLE_PAIR),
                schedules.central,
                experiment,
            )
            for path in paths
        ]
        rounds = [RunFolder.load(path).read_metrics()["rounds"][1:] for path in paths]
        seconds[arm] = statistics.median(sum(entry["seconds"] for entry in run) for run in rounds)
        print(f"{arm}: {seconds[arm]:.0f} s of rounds at {rates[arm]:g}", flush=True)
    print(f"| | {' | '.join(FIGURES)} | seconds of the rounds | rate of everything |\n|---|---|---|---|---|---|")
    for arm, resamples in found.items():
        cells = []
        for figure in FIGURES.values():
            value = figure_of(resamples, figure)
            cells.append("{:.3f} ({:.3f}-{:.3f})".format(value["value"], *value["interval"]))
        print(f"| {arm} | {' | '.join(cells)} | {seconds[arm]:.0f} | {rates[arm]:g} |")
    for arm, resamples in found.items():
        if arm != PLAIN and PLAIN in found:
            cells = []
            for figure in FIGURES.values():
                less = compared(resamples, found[PLAIN], figure)["difference"]
                cells.append("{:+.3f} ({:+.3f} to {:+.3f})".format(less["value"], *less["interval"]))
            print(f"| {arm} less {PLAIN} | {' | '.join(cells)} | {seconds[arm] / seconds[PLAIN]:.2f} times | |")


if __name__ == "__main__":
    main()
