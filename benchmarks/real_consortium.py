"""The real experiment as a consortium of processes, beside the same in simulation: same scores, same bits?

    make real && python benchmarks/real_consortium.py configs/real.yaml --rounds 3
    python benchmarks/real_consortium.py configs/real.yaml --rounds 20
    python benchmarks/real_consortium.py configs/real.yaml --rounds 3 --trainable all

Sets up a lead and one folder for each hospital as their people would (`server init`, `site init`, `server admit`,
`server start`, `site start`: TLS, node authentication, the gateway), then runs `fedthorax run` and `fedthorax simulate`
with the same number of threads. Run folders, logs and the hospitals' own results stay below --out.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LONGEST_S = 6 * 3600.0  # of a run, also on a machine that does other work
SCORES = (
    ("X-ray macro ROC-AUC", ("disease", "macro", "roc_auc")),
    ("CT macro ROC-AUC", ("cancer", "macro", "roc_auc")),
    ("CT accuracy", ("cancer", "accuracy")),
)


def score(test: dict[str, Any], path: tuple[str, ...]) -> float:
    value: Any = test
    for key in path:
        value = value[key]
    return float(value)


def row(name: str, run_folder: Path, wall: float) -> str:
    metrics = json.loads((run_folder / "metrics.json").read_text())
    scores = [f"{score(metrics['test'], path):.6f}" for _, path in SCORES]
    totals = metrics["totals"]
    rounds = sorted(entry["seconds"] for entry in metrics["rounds"][2:])
    memory = totals["peak_memory_mb"]
    megabytes = (totals["bytes_sent"] + totals["bytes_received"]) / 1e6
    cells = [name, metrics["best_round"], *scores, f"{wall:.0f}", f"{rounds[len(rounds) // 2]:.1f}", f"{megabytes:.0f}"]
    cells += [f"{memory['server']:.0f} and {memory['sites']:.0f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    from fedthorax.common.config.load import load_experiment
    from tests.e2e.consortium import consortium, models_in

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trainable", choices=("heads", "all"), default="heads")
    parser.add_argument("--rate", type=float, help="learning rate; else that of the experiment's first phase")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/consortium"))
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.config, [])
    phase = experiment.training.phases[0]
    rate = arguments.rate or phase.learning_rate
    phases = f"[{{rounds: {arguments.rounds}, trainable: {arguments.trainable}, learning_rate: {rate}}}]"
    sets = [f"training.phases={phases}", f"training.threads={arguments.threads}"]
    options = [part for one in sets for part in ("--set", one)]
    name = f"{experiment.name}-{arguments.trainable}-{arguments.rounds}"
    place = (arguments.out / name).absolute()
    shutil.rmtree(place, ignore_errors=True)
    north = next(iter(experiment.data.hospitals))
    data = experiment.data.sources_of(north).xray.folder.parents[1].absolute()
    with consortium(place / "c", data, tuple(experiment.data.hospitals), working=Path.cwd()) as one:
        print(f"the lead and {len(one.hospitals)} hospitals below {place / 'c'}", flush=True)
        started = time.monotonic()
        one.lead("run", str(arguments.config), "--name", name, *options, seconds=LONGEST_S)
        as_consortium = row("consortium", one.run_folder(name), time.monotonic() - started)
        one.verify_logs(name)
        started = time.monotonic()
        out = f"output.folder={place / 'simulation'}"
        one.command("simulate", str(arguments.config), "--name", name, *options, "--set", out, seconds=LONGEST_S)
        simulated = row("simulation", place / "simulation" / name, time.monotonic() - started)
    heads = " | ".join(title for title, _ in SCORES)
    print(f"| as | best round | {heads} | seconds | a round | MB sent | peak MiB, server and sites |")
    print("|---|---|---|---|---|---|---|---|---|", as_consortium, simulated, sep="\n")
    ours, theirs = models_in(one.run_folder(name)), models_in(place / "simulation" / name)
    if ours != theirs:
        raise SystemExit(f"the models differ: {ours} in the consortium, {theirs} in the simulation")
    print("best and last model: the same bits in the consortium and in the simulation")


if __name__ == "__main__":
    main()
