"""Equal and unequal phantom hospitals, each run through `fedthorax simulate`: what becomes of the common model?

    python benchmarks/unequal_phantoms.py --set training.threads=1 --seeds 3

One pool of phantom patients (`fedthorax phantom`) is dealt out as `fedthorax partition` does: to four equal hospitals,
to three with label skew (alpha 0.1), and to four of which north has no CT and south no X-rays; the images are the same
in all. The whole network, a small one, is trained from random weights. Scores are of the central test, with 95 %
intervals over patients and seeds; comparisons are paired over both. Finished runs are read back.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from local_runs import CANCER, DISEASE, SAMPLES, compared, figure_of, is_finished
from numpy.typing import NDArray

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.metrics.intervals import Resamples, cancer_resamples, disease_resamples
from fedthorax.simulations.partition import PartitionPlan, partition
from fedthorax.simulations.phantom import write_phantom
from fedthorax.simulations.site_limits import SiteLimits

FOUR = ("north", "south", "east", "west")
LACKING = SiteLimits(without={"north": ("ct",), "south": ("xray",)})
LAYOUTS: dict[str, dict[str, Any]] = {
    "equal": {"hospitals": FOUR},
    "dirichlet": {"hospitals": FOUR[:3], "by": "dirichlet", "alpha": 0.1},
    "lacking": {"hospitals": FOUR, "limits": LACKING},
}
ARMS = ("equal/branches", "lacking/branches", "lacking/pairs", "dirichlet/branches", "dirichlet/pairs")
COMPARED = (
    ("lacking/branches", "equal/branches"),
    ("lacking/branches", "lacking/pairs"),
    ("dirichlet/branches", "equal/branches"),
    ("dirichlet/branches", "dirichlet/pairs"),
)
SCORES = {"X-ray macro ROC-AUC": DISEASE, "CT macro ROC-AUC": CANCER}
CONFIG = """\
name: phantoms
labels:
  findings: [Cardiomegaly, Effusion, Pneumothorax, Nodule, Consolidation, Atelectasis]
  cancer_classes: [adenocarcinoma, large.cell.carcinoma, normal, squamous.cell.carcinoma]
data:
  hospitals: {north: null}
  central: {xray: pool/central/xray, ct: pool/central/ct}
  splits: {train: 0.85, valid: 0.15, test: 0.0}
model: {backbone: MobileNetV3Small, image_size: 64, weights: none, batch_norm: train, absent: token, encoder_units: 128,
        feature_units: 64, fusion_units: [128, 64]}
training:
  modality_dropout: 0.2
  phases:
    - {rounds: 12, trainable: all, learning_rate: 1e-3, local_epochs: 3}
evaluation: {bootstrap_samples: 0}
"""


def sets_for(arm: str, seed: int, place: Path) -> list[str]:
    layout, _, weigh_by = arm.partition("/")
    folder, dealt = place / layout, LAYOUTS[layout]
    limits = dealt.get("limits", SiteLimits())
    sources = {
        name: {kind: str(folder / name / kind) for kind in ("xray", "ct") if limits.has(name, kind)}
        for name in dealt["hospitals"]
    }
    central = {kind: str(place / "pool" / "central" / kind) for kind in ("xray", "ct")}
    return [
        f"data.hospitals={json.dumps(sources)}",
        f"data.central={json.dumps(central)}",
        f"federation.weigh_by={weigh_by}",
        f"seed={seed}",
        f"name={layout}-{weigh_by}-{seed}",
        f"output.folder={place / 'runs'}",
    ]


def draw(place: Path, patients: int) -> None:
    pool = place / "pool"
    if not pool.exists():
        write_phantom(pool, hospitals=["one"], patients=patients, image_size=96, seed=11)
    for layout, dealt in LAYOUTS.items():
        if not (place / layout).exists():
            source = {"xray": pool / "one" / "xray", "ct": pool / "one" / "ct"}
            partition(PartitionPlan(out=place / layout, **source, seed=1, link="hardlink", **dealt))
    (place / "phantoms.yaml").write_text(CONFIG, encoding="utf-8")


def resamples_in(run: Path, experiment: Experiment) -> dict[str, Resamples]:
    """From the predictions that a run leaves of its central test."""
    with (run / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = experiment.labels

    def of(modality: str, names: tuple[str, ...], kind: str) -> NDArray[np.float64]:
        mine = [row for row in rows if row["modality"] == modality]
        return np.array([[float(row[f"{kind}:{name}"] or "nan") for name in names] for row in mine])

    def patients(modality: str) -> list[str]:
        return [row["patient_id"] for row in rows if row["modality"] == modality]

    findings, classes = labels.findings, labels.cancer_classes
    classed = of("ct", classes, "truth").argmax(axis=1)
    return {
        "disease": disease_resamples(
            of("xray", findings, "truth"),
            of("xray", findings, "probability"),
            patients("xray"),
            findings,
            0.5,
            SAMPLES,
            1,
        ),
        "cancer": cancer_resamples(classed, of("ct", classes, "probability"), patients("ct"), classes, SAMPLES, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/unequal-phantoms"))
    arguments = parser.parse_args()
    place = arguments.out.absolute()
    place.mkdir(parents=True, exist_ok=True)
    draw(place, arguments.patients)
    arms: dict[str, list[Mapping[str, Resamples]]] = {}
    for arm in arguments.arms:
        for seed in range(1, arguments.seeds + 1):
            sets = [*sets_for(arm, seed, place), *arguments.overrides]
            experiment = load_experiment(place / "phantoms.yaml", sets, base=place)
            if not is_finished(experiment.run_folder):
                options = [part for one in sets for part in ("--set", one)]
                command = ["fedthorax.cli.main", "simulate", str(place / "phantoms.yaml"), "--overwrite", *options]
                subprocess.run([sys.executable, "-m", *command], check=True, cwd=place, stdout=subprocess.DEVNULL)
            arms.setdefault(arm, []).append(resamples_in(experiment.run_folder, experiment))
        figures = {name: figure_of(arms[arm], score) for name, score in SCORES.items()}
        cells = [f"{f['value']:.3f} ({f['interval'][0]:.3f}-{f['interval'][1]:.3f})" for f in figures.values()]
        print(f"| {arm}, {len(arms[arm])} seeds | {' | '.join(cells)} |", flush=True)
    for first, second in COMPARED:
        if first in arms and second in arms:
            cells = []
            for score in SCORES.values():
                pair = compared(arms[first], arms[second], score)
                for which, sign in (("difference", "+"), ("ratio", "")):
                    low, high = pair[which]["interval"]
                    cells.append(f"{pair[which]['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})")
            print(f"| {first} against {second} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
