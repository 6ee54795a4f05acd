"""Does a consortium stay small and whole over many rounds in which its processes are killed?

    python benchmarks/soak.py --rounds 50 --kills 12

Starts a lead and two hospitals as real processes with TLS and node authentication (phantom images, MobileNetV3Small at
32 pixels), kills one of their processes at seeded random moments, and goes on with the run where its server was killed.
Prints resident memory after each round, and compares the final model with that of an undisturbed simulation.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from fedthorax.simulations.phantom import phantom_arguments, write_phantom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

HOSPITALS = ("north", "south")
EXPERIMENT = """\
name: soak
seed: 5
labels:
  findings: [Cardiomegaly, Effusion, Pneumothorax, Nodule, Consolidation, Atelectasis]
  cancer_classes: [adenocarcinoma, large.cell.carcinoma, normal, squamous.cell.carcinoma]
data:
  hospitals:
    north: {{xray: data/north/xray, ct: data/north/ct}}
    south: {{xray: data/south/xray, ct: data/south/ct}}
  central: {{xray: data/central/xray, ct: data/central/ct}}
model: {{backbone: MobileNetV3Small, image_size: 32, weights: none, batch_norm: train, encoder_units: 64,
        feature_units: 32, fusion_units: [64, 32]}}
training: {{batch_size: 8, threads: 1, phases: [{{rounds: {rounds}, trainable: all, learning_rate: 1e-3}}]}}
evaluation: {{bootstrap_samples: 20}}
output: {{keep_checkpoints: 2}}
"""
COLUMNS = (
    *(("lead", what) for what in ("serverapp", "superlink", "gateway")),
    *((name, what) for name in HOSPITALS for what in ("supernode", "worker")),
)
SERVER = ("serverapp", "superlink")  # whose end is the run's; it is resumed
VICTIMS = (
    *(("north", "worker"), ("south", "worker"), ("north", "clientapp"), ("south", "clientapp")) * 2,
    *(("south", "supernode"), ("lead", "serverapp"), ("lead", "superlink"), ("lead", "gateway")),
)


def memory(place) -> list[float | None]:
    """Resident MiB by COLUMNS; None for a process that is not there at the moment."""
    sizes: list[float | None] = []
    for owner, what in COLUMNS:
        try:
            sizes.append(psutil.Process(place.pid(owner, what) or -1).memory_info().rss / 2**20)
        except (psutil.Error, ValueError):
            sizes.append(None)
    return sizes


def victims(count: int, rounds: int, seed: int) -> dict[int, list[tuple[str, str, float]]]:
    """Who is killed while which round is worked on, and after how many seconds; every kind comes before any again."""
    chance = random.Random(seed)
    order: list[tuple[str, str]] = []
    while len(order) < count:
        order += chance.sample(VICTIMS, len(VICTIMS))
    planned: dict[int, list[tuple[str, str, float]]] = {}
    for number, (owner, what) in zip(sorted(chance.choices(range(2, rounds), k=count)), order, strict=False):
        planned.setdefault(number, []).append((owner, what, chance.uniform(0, 8)))
    return planned


def run(place, rounds: int, kills: dict[int, list[tuple[str, str, float]]]) -> list[list[float | None]]:
    """The whole run; memory after each round."""
    table: list[list[float | None]] = []
    folder = ("--folder", str(place.folder))
    process = place.start("run", "soak.yaml", *folder, told="soak.txt")
    server_killed, resumes, started = False, 0, time.monotonic()
    print("round  minutes  " + "  ".join(f"{owner[:5]} {what}" for owner, what in COLUMNS))
    while True:
        done = sum(event["kind"] == "round" for event in place.events("soak"))
        if done > len(table):
            sizes = memory(place)
            table += [sizes] * (done - len(table))
            cells = [
                f"{'-' if size is None else round(size):>{len(owner[:5]) + 1 + len(what)}}"
                for (owner, what), size in zip(COLUMNS, sizes, strict=True)
            ]
            minutes = (time.monotonic() - started) / 60
            print(f"{done - 1:>5}  {minutes:>7.1f}  " + "  ".join(cells), flush=True)
            for owner, what, seconds in kills.pop(done, ()):
                time.sleep(seconds)
                pid = place.pid(owner, what)
                if pid is not None and process.poll() is None:
                    psutil.Process(pid).kill()
                    server_killed = server_killed or what in SERVER
                    print(f"       kill -9 of {owner}'s {what} {seconds:.1f} s into round {done}", flush=True)
        code = process.poll()
        if code == 0:
            print(f"finished; resumed {resumes} times")
            return table
        if code is not None and not server_killed:
            raise RuntimeError(f"the run ended with {code}: {place.told('soak.txt')[-2000:]}")
        if code is not None:
            server_killed, resumes = False, resumes + 1
            while place.pid("lead", "superlink") is None:
                time.sleep(0.5)
            place.wait_connected()
            process = place.start("run", "--resume", "soak", *folder, told="soak.txt")
        time.sleep(0.5)


def growth(table: list[list[float | None]]) -> None:
    """Median memory in the second fifth of the rounds and in the last one: the first one warms up."""
    fifth = max(len(table) // 5, 1)
    for index, (owner, what) in enumerate(COLUMNS):
        column = [row[index] for row in table]
        early = [size for size in column[fifth : 2 * fifth] if size is not None]
        late = [size for size in column[-fifth:] if size is not None]
        if early and late:
            before, after = statistics.median(early), statistics.median(late)
            print(f"{owner} {what}: {before:.0f} MiB, at the end {after:.0f} MiB ({after / before - 1:+.1%})")


def main() -> None:
    from tests.e2e.consortium import consortium, models_in

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "data", phantom_arguments(HOSPITALS, patients=16, image_size=48, seed=3))
        (folder / "soak.yaml").write_text(EXPERIMENT.format(rounds=arguments.rounds), encoding="utf-8")
        with consortium(folder / "c", folder / "data", HOSPITALS) as place:
            table = run(place, arguments.rounds, victims(arguments.kills, arguments.rounds, arguments.seed))
            place.verify_logs("soak")
            place.command("simulate", "soak.yaml", seconds=3600.0)
        growth(table)
        metrics, models = place.metrics("soak"), place.models("soak")
        left_out = sum(len(entry["failures"]) for entry in metrics["rounds"])
        print(f"{len(metrics['rounds']) - 1} rounds, hospitals left out of a round: {left_out}")
        undisturbed = models_in(folder / "runs" / "soak")
        if models != undisturbed:
            raise SystemExit(f"the models differ from the simulation's: {models} and {undisturbed}")
        print("best and last model: the same bits as in a simulation that nobody disturbed")


if __name__ == "__main__":
    main()
