"""What a hospital without CT saves: bytes, memory and time of training, beside a hospital with both.

    python benchmarks/one_modality.py
    python benchmarks/one_modality.py --steps 20 --threads 2

The default network (twin EfficientNet-B0, 224 pixels, tokens), everything trainable, batches of 16. Each in a process
of its own: the hospital's network takes a model, makes steps on random images and gives an update. Bytes are those of
the weights down and up in a round that trains everything; memory is the peak resident one of the process, and what of
it came after TensorFlow had been imported; time is the median of the steps after the first.
"""

import argparse
import statistics
import subprocess
import sys
import time

BATCH = 16
HOSPITALS = {"X-rays and CT": "xray,ct", "X-rays alone": "xray", "CT alone": "ct"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(*measure(tuple(arguments.only.split(",")), arguments.steps, arguments.threads))
        return
    print("| hospital with | MB down and up in a round | peak MiB | of these after TensorFlow | seconds a step |")
    print("|---|---|---|---|---|")
    whole: list[float] = []
    for words, modalities in HOSPITALS.items():
        command = [sys.executable, __file__, "--only", modalities]
        command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        found = [float(value) for value in told[-4:]]
        whole = whole or found
        shares = [f"({100 * value / all_of:.0f} %)" for value, all_of in zip(found, whole, strict=True)]
        cells = [f"{found[0]:.1f}", f"{found[1]:.0f}", f"{found[2]:.0f}", f"{found[3]:.2f}"]
        print(f"| {words} | {' | '.join(' '.join(cell) for cell in zip(cells, shares, strict=True))} |", flush=True)


def measure(modalities: tuple[str, ...], steps: int, threads: int) -> tuple[float, float, float, float]:
    """MB both ways, peak MiB, peak MiB less that after the imports, seconds a step."""
    import numpy as np

    from fedthorax.cli.quiet import quiet_libraries

    quiet_libraries()

    from fedthorax.common.config import Experiment
    from fedthorax.common.ground.machine import peak_memory_mb
    from fedthorax.common.training.network import Network

    imported = peak_memory_mb()
    experiment = Experiment.model_validate(
        {
            "name": "one-modality",
            "labels": {
                "findings": [f"finding {number}" for number in range(14)],
                "cancer_classes": ["adenocarcinoma", "large cell", "normal", "squamous cell"],
            },
            "data": {"hospitals": {"north": None}, "central": None},
            "model": {"weights": "none", "batch_norm": "train", "absent": "token"},
            "training": {"phases": [{"rounds": 1, "trainable": "all"}], "batch_size": BATCH, "threads": threads},
        }
    )
    network = Network(experiment, modalities)
    sent = sum(values.nbytes for values in network.layout.read().values())
    random, size = np.random.default_rng(0), experiment.model.image_size
    images = [random.uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32) for _ in modalities]
    present = [np.full((BATCH, 1), name in modalities, np.float32) for name in ("xray", "ct")]
    disease = np.full((BATCH, 14), np.nan, np.float32)
    cancer = np.full(BATCH, -1, np.int32)
    if "xray" in modalities:
        disease = random.integers(0, 2, (BATCH, 14)).astype(np.float32)
    if "ct" in modalities:
        cancer = random.integers(0, 4, BATCH).astype(np.int32)
    network.start("all", 0)
    seconds = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        network.step("all")(*images, *present, disease, cancer).numpy()
        seconds.append(time.perf_counter() - begun)
    received = sum(values.nbytes for values in network.layout.read(network.trained_segments("all")).values())
    peak = peak_memory_mb()
    return (sent + received) / 1e6, peak, peak - imported, statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
