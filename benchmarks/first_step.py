"""Seconds from the start of a process to the end of its first training step, ours against model.fit.

    python benchmarks/first_step.py
    python benchmarks/first_step.py --repeats 1 --only ours
    python benchmarks/first_step.py --repeats 1 --only model.fit --policy mixed_bfloat16

The twin EfficientNet-B0 at 224 pixels, batches of 16 pairs of noise, everything trainable, from random weights. The
rival is benchmarks/rivals/network.py: the same network in plain Keras, compiled and fitted as anyone would. Every
repeat starts a new process for each, turn by turn. Both go on for some steps, so that a first step bought with slow
ones would show. Prints seconds and CPU seconds since the start of the process at each stage, and the ratio with its
spread. --policy is Keras's dtype policy for model.fit.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARMS = ("ours", "model.fit")
STAGES = ("imports", "network", "first step")
BATCH = 16


def tell(stage: str) -> None:
    print(json.dumps({"stage": stage, "time": time.time(), "cpu": time.process_time()}), flush=True)


def ours(size: int, steps: int) -> None:
    from fedthorax.cli.quiet import quiet_libraries

    quiet_libraries()
    from fedthorax.client.site.task_desk import warm_up

    warm_up()  # what a hospital's worker imports, and how
    from fedthorax.common.config.load import load_experiment
    from fedthorax.common.training.network import Network

    tell("imports")
    settings = (f"model.image_size={size}", "model.batch_norm=train", "model.backbone=EfficientNetB0")
    experiment = load_experiment(HERE.parent / "configs" / "demo.yaml", [*settings, "model.weights=none"])
    network = Network(experiment)
    tell("network")
    xray, ct, findings, classes = noise(size, len(experiment.labels.findings), len(experiment.labels.cancer_classes))
    network.start("all", seed=1)
    for _ in range(steps):
        network.step("all")(xray, ct, findings, classes).numpy()
        tell("step")


def fit(size: int, steps: int) -> None:
    import keras

    sys.path.insert(0, str(HERE / "rivals"))
    os.environ["ROUND_IMAGE_SIZE"] = str(size)
    from network import CLASSES, FINDINGS, compiled

    keras.config.set_dtype_policy(os.environ.get("FIRST_STEP_POLICY", "float32"))
    tell("imports")
    model = compiled()
    tell("network")
    xray, ct, findings, classes = noise(size, FINDINGS, CLASSES, steps)
    after = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: tell("step"))
    model.fit([xray, ct], [findings, classes], batch_size=BATCH, verbose=0, callbacks=[after])


def noise(size: int, findings: int, classes: int, batches: int = 1):
    """X-rays, CT slices and their labels."""
    import numpy as np

    rng, count = np.random.default_rng(1), BATCH * batches
    images = (rng.integers(0, 256, (count, size, size, 3)).astype(np.float32) for _ in range(2))
    labels = rng.integers(0, 2, (count, findings)).astype(np.float32), rng.integers(0, classes, count).astype(np.int32)
    return (*images, *labels)


def measured(arm: str, size: int, steps: int) -> dict[str, tuple[float, float]]:
    """By stage, seconds since the start of the process and CPU seconds; ``step`` is the median of the later steps."""
    command = [sys.executable, __file__, "--child", arm, "--size", str(size), "--steps", str(steps)]
    begun = time.time()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    marks = [json.loads(line) for line in told if line.startswith('{"stage"')]
    found = {mark["stage"]: (mark["time"] - begun, mark["cpu"]) for mark in marks if mark["stage"] != "step"}
    ends = [(mark["time"] - begun, mark["cpu"]) for mark in marks if mark["stage"] == "step"]
    found["first step"] = ends[0]
    later = [[after[part] - before[part] for before, after in itertools.pairwise(ends)] for part in (0, 1)]
    found["step"] = (statistics.median(later[0]), statistics.median(later[1]))
    return found


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", choices=ARMS, nargs="+", default=list(ARMS))
    parser.add_argument("--policy", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--child", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        {"ours": ours, "model.fit": fit}[arguments.child](arguments.size, arguments.steps)
        return
    os.environ["FIRST_STEP_POLICY"] = arguments.policy
    found: dict[str, list[dict[str, tuple[float, float]]]] = {arm: [] for arm in arguments.only}
    for _ in range(arguments.repeats):
        for arm, runs in found.items():
            runs.append(measured(arm, arguments.size, arguments.steps))
            at = ", ".join(f"{stage} {runs[-1][stage][0]:.1f}" for stage in (*STAGES, "step"))
            print(f"{arm}: {at} (load {os.getloadavg()[0]:.1f})", flush=True)
    print("| | until | s | CPU s |\n|---|---|---|---|")
    for arm, runs in found.items():
        for stage in (*STAGES, "step"):
            seconds, cpu = (spread([run[stage][part] for run in runs]) for part in (0, 1))
            print(f"| {arm} | {stage if stage != 'step' else 'a later step takes'} | {seconds} | {cpu} |")
    if set(arguments.only) == set(ARMS):
        for stage in ("first step", "step"):
            ratios = [theirs[stage][0] / mine[stage][0] for mine, theirs in zip(*found.values(), strict=True)]
            print(f"{stage}: ours is {spread(ratios)} times as fast")


if __name__ == "__main__":
    main()
