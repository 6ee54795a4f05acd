"""Pairs a second of local training: ours against Keras's model.fit on tf.data, and heads alone on cached features.

    python benchmarks/training.py
    python benchmarks/training.py --size 64 --pairs 64 --epochs 3

The twin EfficientNet-B0 from random weights on noise as PNG files; every arm is a process of its own that stays, and
they take turns, an epoch each, so that what else the machine does hits all alike. The first epoch of each, which
traces, is not counted.

- `ours`: `fit` of a hospital, everything trainable.
- `model.fit`: the same network in plain Keras (benchmarks/rivals/network.py) on a tf.data pipeline of the same files
  that decodes in parallel, keeps what it decoded, shuffles, batches and prefetches.
- `heads`: `fit` of a hospital with frozen backbones, on features that were computed once.
- `pipeline`: the batches of `ours` taken by a step that costs nothing: how fast a step may become before it has to
  wait.

Ours clips gradients and adds up masked losses, model.fit does not; neither changes the images (augmentation is off,
except for the second figure of the pipeline).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
ARMS = ("ours", "model.fit", "heads", "pipeline", "pipeline, augmented")
BATCH = 16

Epoch = Callable[[int], int]  # number of the epoch → pairs in it


def hospital(out: Path, size: int, augmented: bool, overrides: list[str]) -> tuple[Any, Any, Any]:
    from fedthorax.cli.quiet import quiet_libraries

    quiet_libraries()
    from benchmarks.round import Work
    from fedthorax.common.config.load import load_experiment
    from fedthorax.common.hospital.site import load_hospital
    from fedthorax.common.training.network import Network

    file = out / "training.yaml"
    file.write_text(Work(1, size).experiment(), encoding="utf-8")
    chosen = [f"training.augmentation.enabled={str(augmented).lower()}", *overrides]
    experiment = load_experiment(file, chosen, base=out)
    site = load_hospital(experiment, "north")
    return experiment, Network(experiment), site.splits


def ours(out: Path, size: int, trainable: str, overrides: list[str]) -> Epoch:
    _, network, splits = hospital(out, size, False, overrides)
    from fedthorax.common.config.training import PhaseConfig
    from fedthorax.common.training.features import FeatureStore
    from fedthorax.common.training.fit import fit

    store, phase = FeatureStore(network, None), PhaseConfig(rounds=1, trainable=trainable)
    return lambda epoch: fit(network, store, splits["train"], splits["valid"], phase, 1e-4, epoch, True).pairs


def pipeline(out: Path, size: int, augmented: bool, overrides: list[str]) -> Epoch:
    experiment, network, splits = hospital(out, size, augmented, overrides)
    from fedthorax.common.training.fit import epoch_pairs, image_batches

    def epoch(number: int) -> int:
        pairs = epoch_pairs(experiment, splits["train"], number)
        return sum(len(batch[-1]) for batch in image_batches(network, splits["train"], pairs, number))

    return epoch


def keras_fit(out: Path, size: int) -> Epoch:
    sys.path.insert(0, str(HERE / "rivals"))
    os.environ["ROUND_IMAGE_SIZE"] = str(size)
    import numpy as np
    import tensorflow as tf
    from network import CLASSES, FINDINGS, compiled

    folder = out / "data" / "north"
    slices = sorted(map(str, (folder / "ct" / "train").rglob("*.png")))
    xrays = [str(folder / "xray" / f"train-{number}.png") for number in range(len(slices))]
    rng = np.random.default_rng(1)
    findings = rng.integers(0, 2, (len(slices), FINDINGS)).astype(np.float32)
    classes = rng.integers(0, CLASSES, len(slices)).astype(np.int32)

    def read(file: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_png(tf.io.read_file(file), channels=3), (size, size, 3))

    def pair(xray: tf.Tensor, ct: tf.Tensor, disease: tf.Tensor, cancer: tf.Tensor) -> tuple[Any, Any]:
        return (read(xray), read(ct)), (disease, cancer)

    dataset = tf.data.Dataset.from_tensor_slices((xrays, slices, findings, classes))
    dataset = dataset.map(pair, tf.data.AUTOTUNE).cache().shuffle(len(slices)).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    model = compiled()

    def epoch(number: int) -> int:
        model.fit(dataset, epochs=1, verbose=0)
        return len(slices)

    return epoch


def child(arm: str, out: Path, size: int, overrides: list[str]) -> None:
    """An epoch for every line that comes."""
    if arm == "model.fit":
        epoch = keras_fit(out, size)
    elif arm.startswith("pipeline"):
        epoch = pipeline(out, size, arm != "pipeline", overrides)
    else:
        epoch = ours(out, size, "all" if arm == "ours" else "heads", overrides)
    for number, _ in enumerate(sys.stdin):
        begun, spent = time.perf_counter(), time.process_time()
        pairs = epoch(number)
        facts = {"pairs": pairs, "seconds": time.perf_counter() - begun, "cpu": time.process_time() - spent}
        print("EPOCH", json.dumps(facts), flush=True)


def turns(arms: list[str], command: list[str], epochs: int) -> dict[str, list[dict[str, float]]]:
    running = {
        arm: subprocess.Popen(
            [*command, "--child", arm], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for arm in arms
    }
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    try:
        for _ in range(epochs + 1):
            for arm, process in running.items():
                assert process.stdin is not None  # for the type checker: both are pipes
                assert process.stdout is not None
                print("go", file=process.stdin, flush=True)
                told = next((line for line in process.stdout if line.startswith("EPOCH")), None)
                if told is None:
                    raise RuntimeError(f"{arm} has ended")
                found[arm].append(json.loads(told.removeprefix("EPOCH")))
    finally:
        for process in running.values():
            process.kill()
    return {arm: epochs[1:] for arm, epochs in found.items()}


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", choices=ARMS, nargs="+", default=list(ARMS))
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="for ours, as in fedthorax train")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/training"))
    parser.add_argument("--child", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    if arguments.child:
        child(arguments.child, out, arguments.size, arguments.overrides)
        return
    from benchmarks.round import draw_images

    draw_images(out / "data", arguments.size, pairs={"train": arguments.pairs, "valid": BATCH})
    command = [sys.executable, __file__, "--size", str(arguments.size), "--out", str(out)]
    command += [part for override in arguments.overrides for part in ("--set", override)]
    print(f"{arguments.pairs} pairs at {arguments.size} pixels, load {os.getloadavg()[0]:.1f}", flush=True)
    found = turns(arguments.only, command, arguments.epochs)
    rates = {arm: [one["pairs"] / one["seconds"] for one in epochs] for arm, epochs in found.items()}
    print("| | pairs a second | CPU s an epoch |\n|---|---|---|")
    for arm, epochs in found.items():
        print(f"| {arm} | {spread(rates[arm])} | {spread([one['cpu'] for one in epochs])} |")
    for arm, other in (("ours", "model.fit"), ("heads", "ours"), ("pipeline", "ours"), ("pipeline, augmented", "ours")):
        if {arm, other} <= set(rates):
            ratios = [mine / theirs for mine, theirs in zip(rates[arm], rates[other], strict=True)]
            print(f"{arm} / {other}: {spread(ratios)}")


if __name__ == "__main__":
    main()
