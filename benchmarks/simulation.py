"""What does a simulation cost beside centralised training of the same images, with few and with many hospitals?

    python benchmarks/simulation.py
    python benchmarks/simulation.py --hospitals 3 12 24 --backbone MobileNetV3Small --without-rival
    python benchmarks/simulation.py --size 224 --train 1536 --hospitals 24 --rounds 2 --without-rival

The same 384 (or ``--train``) training pairs and 48 validation pairs of noise at 64 pixels, once pooled
(`fedthorax train`) and dealt out to every number of hospitals (`fedthorax simulate`), each in a process of its own: the
twin EfficientNet-B0 from random weights, everything trainable, three rounds of one pass. With ``--parallel-sites`` so
many hospitals share the cores at a time. Prints seconds from the start of the command to its end, those of the first
round, which traces the network, and of the warm rounds, what is outside of rounds (imports, decoding, closing test,
report), and the peak resident memory of the server's process and of the hospitals'.

The rival is the same network as Flower's TensorFlow quickstart writes it (benchmarks/rivals/flower_app) on Flower's
simulation runtime, with as many hospitals as the first number, one CPU each; it has no central scoring and no report.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from benchmarks.round import (  # noqa: E402  needs the path above
    CLASSES,
    FINDINGS,
    Timing,
    Work,
    draw_images,
    environment,
    flower_timing,
    rival_variables,
)
from tests.waiting import free_port  # noqa: E402

VALID = 48  # pairs, of all hospitals together
EXPERIMENT = """\
name: simulation
seed: 1
labels: {{findings: [{findings}], cancer_classes: [{classes}]}}
data:
  hospitals: {{{hospitals}}}
  central: {{xray: data/central/xray, ct: data/central/ct}}
model: {{backbone: {backbone}, weights: none, batch_norm: train, image_size: {size}}}
simulation: {{parallel_sites: {parallel}}}
training: {{batch_size: 16, threads: {threads}, phases: [{{rounds: {rounds}, trainable: all, learning_rate: 1e-4}}]}}
evaluation: {{bootstrap_samples: 20, partners: 1}}
output: {{keep_checkpoints: 1}}
"""


FLOWER_CONFIG = """\
[superlink.bench]
address = ":local-in-memory:"
options.num-supernodes = {hospitals}
options.backend.client-resources.num-cpus = 1
"""


def quickstart(out: Path, hospitals: int, size: int, rounds: int, backbone: str, train: int) -> tuple[float, Timing]:
    """Wall seconds from the start of ``flwr run`` to its end, and the rounds."""
    python, place = environment(out, "flower"), out / "flower-simulation"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE / "rivals" / "flower_app", place / "app", ignore=shutil.ignore_patterns("__pycache__"))
    pairs = {"train": train // hospitals, "valid": VALID // hospitals}
    draw_images(out / "data", size, pairs=pairs, hospitals=tuple(f"h{number:02}" for number in range(hospitals)))
    home = place / "home"
    home.mkdir()
    (home / "config.toml").write_text(FLOWER_CONFIG.format(hospitals=hospitals), encoding="utf-8")
    quiet = {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    quiet |= {"FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    quiet["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"] = str(free_port())
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    variables = rival_variables(out, Work(rounds, size, backbone), PATH=path, **quiet)
    log, begun = place / "log.txt", time.monotonic()
    command = ["flwr", "run", "app", "bench", "--stream", "--run-config", f"num-server-rounds={rounds}"]
    try:
        with log.open("wb") as told:
            subprocess.run(command, cwd=place, env=variables, stdout=told, stderr=told, check=True, timeout=3600)
        return time.monotonic() - begun, flower_timing(out, rounds, log)
    finally:  # `flwr run` leaves a SuperLink behind
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("FLWR_HOME") == str(home):
                    process.kill()


def measured(
    command: str, hospitals: int, size: int, rounds: int, backbone: str, train: int, parallel: int
) -> dict[str, Any]:
    """One run; wall seconds and what the run folder tells. ``parallel`` hospitals share the cores at a time."""
    threads = max(1, len(os.sched_getaffinity(0)) // parallel)
    names = tuple(f"h{number:02}" for number in range(hospitals))
    with tempfile.TemporaryDirectory(prefix="fedthorax-") as folder:
        place = Path(folder)
        pairs = {"train": train // hospitals, "valid": VALID // hospitals}
        draw_images(place / "data", size, pairs=pairs, hospitals=names)
        sources = ", ".join(f"{name}: {{xray: data/{name}/xray, ct: data/{name}/ct}}" for name in names)
        labels = {"findings": ", ".join(FINDINGS), "classes": ", ".join(CLASSES)}
        shared = {"parallel": parallel, "threads": threads}
        text = EXPERIMENT.format(hospitals=sources, size=size, rounds=rounds, backbone=backbone, **labels, **shared)
        (place / "simulation.yaml").write_text(text, encoding="utf-8")
        begun = time.monotonic()
        program = [sys.executable, "-m", "fedthorax.cli.main", command, "simulation.yaml", "--json"]
        subprocess.run(program, cwd=place, check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - begun
        (file,) = (place / "runs").glob("*/metrics.json")
        metrics = json.loads(file.read_text(encoding="utf-8"))
    return {
        "wall": wall,
        "rounds": [entry["seconds"] for entry in metrics["rounds"]],
        "peaks": metrics["totals"]["peak_memory_mb"],
    }


def named(hospitals: int, at_a_time: int) -> str:
    return f"{hospitals} hospitals" + (f", {at_a_time} at a time" if at_a_time > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, nargs="+", default=[3, 24])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="EfficientNetB0")
    parser.add_argument("--train", type=int, default=384, help="training pairs, of all hospitals together")
    parser.add_argument("--parallel-sites", type=int, nargs="+", default=[1], help="for each number of hospitals")
    parser.add_argument("--without-rival", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/round"), help="for the rival's environment")
    arguments = parser.parse_args()
    settings = (arguments.size, arguments.rounds, arguments.backbone, arguments.train)
    arms = [("train", arguments.hospitals[0], 1)]
    arms += [
        ("simulate", number, at_a_time) for number in arguments.hospitals for at_a_time in arguments.parallel_sites
    ]
    found: dict[str, dict[str, Any]] = {}
    print("| | seconds | first round | a warm round | outside of rounds | peak MiB, server and hospitals | load |")
    print("|---|---|---|---|---|---|---|")
    for command, hospitals, at_a_time in arms:
        name = "centralised" if command == "train" else named(hospitals, at_a_time)
        found[name] = run = measured(command, hospitals, *settings, at_a_time)
        warm, outside = run["rounds"][2:], run["wall"] - sum(run["rounds"])
        cells = [f"{run['wall']:.0f}", f"{run['rounds'][1]:.1f}", f"{statistics.median(warm):.1f}", f"{outside:.1f}"]
        memory = ", ".join(f"{value:.0f}" for value in run["peaks"].values())
        print(f"| {' | '.join([name, *cells, memory])} | {os.getloadavg()[0]:.1f} |", flush=True)
    pooled = found.pop("centralised")
    if not arguments.without_rival:
        number = arguments.hospitals[0]
        wall, timing = quickstart(arguments.out.absolute(), number, *settings)
        warm, rounds = statistics.median(timing.wall[1:]), sum(timing.wall)
        cells = [f"{wall:.0f}", f"{timing.wall[0]:.1f}", f"{warm:.1f}", f"{wall - rounds:.1f}", ""]
        name = f"Flower's quickstart, {number} hospitals"
        print(f"| {' | '.join([name, *cells])} | {os.getloadavg()[0]:.1f} |", flush=True)
        ours = found[named(number, arguments.parallel_sites[0])]
        mine = statistics.median(ours["rounds"][2:])
        print(f"{name} / ours: the whole {wall / ours['wall']:.1f}, a warm round {warm / mine:.1f}")
    for name, run in found.items():
        warm = statistics.median(run["rounds"][2:]) / statistics.median(pooled["rounds"][2:])
        print(f"{name} / centralised: the whole {run['wall'] / pooled['wall']:.2f}, a warm round {warm:.2f}")
    for at_a_time in arguments.parallel_sites:
        first, last = (found[named(arguments.hospitals[end], at_a_time)]["peaks"] for end in (0, -1))
        for part in first:
            print(f"{part}: memory {last[part] / first[part]:.2f} times from the fewest to the most hospitals")


if __name__ == "__main__":
    main()
