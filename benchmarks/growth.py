"""How time, memory and bytes grow with images, their size, the model and the number of hospitals.

    python benchmarks/growth.py --plot docs/growth.png

Four curves, along each of which one thing grows; every point is a process of its own:

    samples     a hospital's pairs of PNG files: reading them, and one pass over everything (EfficientNet-B0, 64 pixels)
    pixels      the side of an image; one step of 16 pairs, everything trained (EfficientNet-B0)
    weights     the network: twin MobileNetV3Small, EfficientNet-B0, EfficientNet-B2; one step of 16 pairs at 112 pixels
    hospitals   updates of 13.4 million weights that the server decodes, checks and averages in a round

Seconds are CPU seconds of the process, with one thread for TensorFlow's kernels; memory is the peak resident one beyond
what the process had after its imports; bytes are those of the weights down and up in a round, as float32. Each slope is
that of a straight line through the logarithms: 1 means in proportion, 0 means that it does not grow.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

BATCH, STEPS = 16, 5
POINTS: dict[str, tuple[Any, ...]] = {
    "samples": (128, 512, 2048),
    "pixels": (64, 112, 160, 224),
    "weights": ("MobileNetV3Small", "EfficientNetB0", "EfficientNetB2"),
    "hospitals": (2, 8, 32, 128),
}
UNITS = {"seconds": "CPU s", "memory": "MiB", "bytes": "MB"}
LABELS = {
    "findings": [f"finding_{number}" for number in range(14)],
    "cancer_classes": ["adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma"],
}


def experiment_of(size: int, backbone: str, hospital: dict[str, str] | None = None) -> Any:
    from fedthorax.common.config import Experiment

    return Experiment.model_validate(
        {
            "name": "growth",
            "labels": LABELS,
            "data": {"hospitals": {"north": hospital}, "central": None},
            "model": {"weights": "none", "batch_norm": "train", "image_size": size, "backbone": backbone},
            "training": {"phases": [{"rounds": 1, "trainable": "all"}], "batch_size": BATCH, "threads": 1},
        }
    )


def samples(pairs: int) -> dict[str, float]:
    from benchmarks.round import draw_images
    from fedthorax.common.hospital.site import load_hospital
    from fedthorax.common.training.features import FeatureStore
    from fedthorax.common.training.fit import fit
    from fedthorax.common.training.network import Network

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        draw_images(place, 64, pairs={"train": pairs, "valid": 16}, hospitals=("north",))
        hospital = {kind: str(place / "north" / kind) for kind in ("xray", "ct")}
        experiment = experiment_of(64, "EfficientNetB0", hospital)
        network = Network(experiment)
        network.start("all", 0)
        warm_up(network, 64)  # tracing is the same however many pairs there are
        begun = time.process_time()
        site = load_hospital(experiment, "north")
        read = time.process_time() - begun
        store, phase = FeatureStore(network, None), experiment.training.phases[0]
        begun = time.process_time()
        fit(network, store, site.splits["train"], site.splits["valid"], phase, 1e-4, 0)
        return {"x": pairs, "seconds": time.process_time() - begun, "seconds to read": read}


def step(size: int, backbone: str) -> tuple[Any, float]:
    from fedthorax.common.training.network import Network

    network = Network(experiment_of(size, backbone))
    network.start("all", 0)
    return network, warm_up(network, size)


def warm_up(network: Any, size: int) -> float:
    """CPU seconds of a step of BATCH pairs, the first one left out."""
    import numpy as np

    random = np.random.default_rng(0)
    images = [random.uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32) for _ in range(2)]
    disease = random.integers(0, 2, (BATCH, 14)).astype(np.float32)
    seconds = []
    for _ in range(STEPS + 1):
        begun = time.process_time()
        network.step("all")(*images, disease, random.integers(0, 4, BATCH).astype(np.int32)).numpy()
        seconds.append(time.process_time() - begun)
    return statistics.median(seconds[1:])


def pixels(size: int) -> dict[str, float]:
    _, seconds = step(size, "EfficientNetB0")
    return {"x": size, "seconds": seconds}


def weights(backbone: str) -> dict[str, float]:
    network, seconds = step(112, backbone)
    held = network.layout.read()
    both = 2 * sum(values.nbytes for values in held.values())
    return {"x": sum(values.size for values in held.values()), "seconds": seconds, "bytes": both / 1e6}


def hospitals(number: int) -> dict[str, float]:
    """One after the other, as the ServerApp takes them in."""
    import numpy as np

    from benchmarks.aggregation import SIZES, Layout, some_scores
    from fedthorax.common.algorithms.branchwise import FederatedAverage
    from fedthorax.common.messages.reading import read_reply
    from fedthorax.common.messages.replies import TrainReply
    from fedthorax.common.messages.results import UpdateTold
    from fedthorax.common.messages.sending import closed, from_flower, num_bytes, to_flower
    from fedthorax.common.messages.tasks import TrainTask
    from fedthorax.common.model.segments import SEGMENTS
    from fedthorax.common.record.run import FitTold
    from fedthorax.server.claims import check_update
    from fedthorax.server.steps import measured

    random = np.random.default_rng(1)
    model = {name: random.normal(0, 0.05, size).astype(np.float32) for name, size in SIZES.items()}
    fit = FitTold(loss=1.0, disease_loss=1.0, cancer_loss=1.0, pairs=3, steps=1, epochs=1, seconds=1.0)
    update = {n: v + np.float32(1e-4) for n, v in model.items()}
    trained = TrainReply(site="north", round=1, results=UpdateTold(valid=some_scores(), train=fit), weights=update)
    message = to_flower(closed(trained))
    average, layout, begun = FederatedAverage(SIZES), Layout(), time.process_time()
    for _ in range(number):
        reply = read_reply(from_flower(message), TrainTask(site="north", round=1))
        check_update(reply, layout, SEGMENTS)  # type: ignore[arg-type]
        measured(reply.weights, model, layout)
        average.add(reply.weights, 3)
    average.result(model)
    spent = time.process_time() - begun
    return {"x": number, "seconds": spent, "bytes": 2 * number * num_bytes(message) / 1e6}


MEASURES: dict[str, Callable[[Any], dict[str, float]]] = {
    "samples": samples,
    "pixels": pixels,
    "weights": weights,
    "hospitals": hospitals,
}


def child(axis: str, point: str) -> None:
    from fedthorax.cli.quiet import quiet_libraries

    quiet_libraries()

    from fedthorax.common.ground.machine import peak_memory_mb

    imported = peak_memory_mb()
    found = MEASURES[axis](point if axis == "weights" else int(point))
    print(json.dumps({**found, "memory": peak_memory_mb() - imported}))


def slope(rows: list[dict[str, float]], of: str) -> float:
    import numpy as np

    return float(np.polyfit(np.log([row["x"] for row in rows]), np.log([row[of] for row in rows]), 1)[0])


def plot(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, panels = plt.subplots(1, len(found), figsize=(4 * len(found), 3.6), layout="constrained")
    for panel, (axis, rows) in zip(panels, found.items(), strict=True):
        for of, unit in UNITS.items():
            if of in rows[0]:
                x, y = [row["x"] for row in rows], [row[of] for row in rows]
                panel.loglog(x, y, marker="o", label=f"{of}, {unit}: slope {slope(rows, of):.2f}")
        panel.set_xticks([row["x"] for row in rows], [f"{row['x']:,.0f}" for row in rows])
        panel.xaxis.set_minor_locator(ticker.NullLocator())
        panel.set_xlabel(axis)
        panel.grid(visible=True, which="both", alpha=0.25)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(POINTS), default=list(POINTS))
    parser.add_argument("--plot", type=Path, help="PNG file for the curves.")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    found: dict[str, list[dict[str, float]]] = {}
    for axis in arguments.only:
        for point in POINTS[axis]:
            command = [sys.executable, __file__, "--child", axis, str(point)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            found.setdefault(axis, []).append(json.loads(told))
            print(axis, point, told, flush=True)
        rows = found[axis]
        slopes = {of: slope(rows, of) for of in rows[0] if of != "x"}
        print(f"{axis}: slopes {', '.join(f'{of} {value:.2f}' for of, value in slopes.items())}", flush=True)
    if arguments.plot:
        plot(found, arguments.plot)


if __name__ == "__main__":
    main()
