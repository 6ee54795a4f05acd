"""What does a simulation cost beside centralised training of the same images, with few and with many hospitals?

    python benchmarks/simulation.py
    python benchmarks/simulation.py --hospitals 3 12 24 --backbone MobileNetV3Small

The same 384 training pairs and 48 validation pairs of noise at 64 pixels, once pooled (`fedthorax train`) and dealt out
to every number of hospitals (`fedthorax simulate`), each in a process of its own: the twin EfficientNet-B0 from random
weights, everything trainable, three rounds of one pass. Prints seconds from the start of the command to its end, those
of the first round, which traces the network, and of the warm rounds, what is outside of rounds (imports, decoding,
closing test, report), and the peak resident memory of the server's process and of the hospitals'.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from benchmarks.round import CLASSES, FINDINGS, draw_images  # noqa: E402  needs the path above

TRAIN, VALID = 384, 48  # pairs, of all hospitals together
EXPERIMENT = """\
name: simulation
seed: 1
labels: {{findings: [{findings}], cancer_classes: [{classes}]}}
data:
  hospitals: {{{hospitals}}}
  central: {{xray: data/central/xray, ct: data/central/ct}}
model: {{backbone: {backbone}, weights: none, batch_norm: train, image_size: {size}}}
training: {{batch_size: 16, phases: [{{rounds: {rounds}, trainable: all, learning_rate: 1e-4}}]}}
evaluation: {{bootstrap_samples: 20, partners: 1}}
output: {{keep_checkpoints: 1}}
"""


def measured(command: str, hospitals: int, size: int, rounds: int, backbone: str) -> dict[str, Any]:
    """One run; wall seconds and what the run folder tells."""
    names = tuple(f"h{number:02}" for number in range(hospitals))
    with tempfile.TemporaryDirectory(prefix="fedthorax-") as folder:
        place = Path(folder)
        pairs = {"train": TRAIN // hospitals, "valid": VALID // hospitals}
        draw_images(place / "data", size, pairs=pairs, hospitals=names)
        sources = ", ".join(f"{name}: {{xray: data/{name}/xray, ct: data/{name}/ct}}" for name in names)
        labels = {"findings": ", ".join(FINDINGS), "classes": ", ".join(CLASSES)}
        text = EXPERIMENT.format(hospitals=sources, size=size, rounds=rounds, backbone=backbone, **labels)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, nargs="+", default=[3, 24])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="EfficientNetB0")
    arguments = parser.parse_args()
    settings = (arguments.size, arguments.rounds, arguments.backbone)
    arms = [("train", arguments.hospitals[0]), *(("simulate", number) for number in arguments.hospitals)]
    found: dict[str, dict[str, Any]] = {}
    print("| | seconds | first round | a warm round | outside of rounds | peak MiB, server and hospitals | load |")
    print("|---|---|---|---|---|---|---|")
    for command, hospitals in arms:
        name = "centralised" if command == "train" else f"{hospitals} hospitals"
        found[name] = run = measured(command, hospitals, *settings)
        warm, outside = run["rounds"][2:], run["wall"] - sum(run["rounds"])
        cells = [f"{run['wall']:.0f}", f"{run['rounds'][1]:.1f}", f"{statistics.median(warm):.1f}", f"{outside:.1f}"]
        memory = ", ".join(f"{value:.0f}" for value in run["peaks"].values())
        print(f"| {' | '.join([name, *cells, memory])} | {os.getloadavg()[0]:.1f} |", flush=True)
    pooled = found.pop("centralised")
    for name, run in found.items():
        warm = statistics.median(run["rounds"][2:]) / statistics.median(pooled["rounds"][2:])
        print(f"{name} / centralised: the whole {run['wall'] / pooled['wall']:.2f}, a warm round {warm:.2f}")
    peaks = [run["peaks"] for run in found.values()]
    for part in peaks[0]:
        print(f"{part}: memory {peaks[-1][part] / peaks[0][part]:.2f} times that of {arguments.hospitals[0]} hospitals")


if __name__ == "__main__":
    main()
