"""Does the memory of a simulation grow with the number of hospitals?

    python benchmarks/hospitals_memory.py

Runs one round of the twin EfficientNet-B0 at 64 pixels with 3 and with 12 phantom hospitals of the same size, each in a
process of its own, and prints the peak resident memory that the run folder reports for the server's process and for the
hospitals' process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from fedthorax.common.config.load import load_experiment, to_yaml
from fedthorax.simulations.phantom import phantom_arguments, write_phantom


def experiment_for(folder: Path, hospitals: int, config: Path) -> Path:
    """The demo's experiment, cut to one round and one epoch, with this many phantom hospitals."""
    summary = write_phantom(folder / "data", phantom_arguments(hospitals, patients=12, image_size=96, seed=1))
    settings = yaml.safe_load(to_yaml(load_experiment(config)))
    names = [name for name in summary.sites if not name.startswith("central")]
    data = folder / "data"
    settings["data"]["hospitals"] = {
        name: {"xray": str(data / name / "xray"), "ct": str(data / name / "ct")} for name in names
    }
    settings["data"]["central"] = {"xray": str(data / "central" / "xray"), "ct": str(data / "central" / "ct")}
    settings["training"]["phases"] = [{"rounds": 1, "trainable": "all", "local_epochs": 1}]
    settings["output"]["folder"] = str(folder / "runs")
    settings["name"] = "memory"
    file = folder / "memory.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--hospitals", type=int, nargs="+", default=[3, 12])
    arguments = parser.parse_args()
    peaks = {}
    for hospitals in arguments.hospitals:
        with tempfile.TemporaryDirectory() as name:
            file = experiment_for(Path(name), hospitals, arguments.config)
            command = [sys.executable, "-m", "fedthorax.cli.main", "simulate", str(file), "--json"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            metrics = json.loads((Path(name) / "runs" / "memory" / "metrics.json").read_text(encoding="utf-8"))
        peaks[hospitals] = metrics["totals"]["peak_memory_mb"]
        peak = peaks[hospitals]
        print(f"{hospitals:>3} hospitals: server {peak['server']:.0f} MiB, hospitals' process {peak['sites']:.0f} MiB")
    first, last = peaks[arguments.hospitals[0]], peaks[arguments.hospitals[-1]]
    for part in ("server", "sites"):
        print(f"{part}: {last[part] / first[part]:.2f} times the memory of {arguments.hospitals[0]} hospitals")


if __name__ == "__main__":
    main()
