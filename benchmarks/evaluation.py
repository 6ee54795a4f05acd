"""Scoring every image beside its partners: ours, one encoder pass an image, against model.predict on the pairs.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --image-size 64 --repeats 3

Images of noise, the twin EfficientNet-B0, every X-ray and every CT slice beside `evaluation.partners` drawn partners.
The rival builds the pairs as arrays and calls model.predict on them, in the same batch size; both are timed after a
first call that traces. Both run in this process, turn by turn, with the same weights and pairs; the probabilities are
compared. With one partner and as many X-rays as CT slices there is no image that a pair repeats.
Prints images a second of both and the ratio with its spread.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

from fedthorax.common.config.load import load_experiment  # noqa: E402  after TensorFlow has been told to be quiet
from fedthorax.common.ground.seeds import derive_seed  # noqa: E402
from fedthorax.common.hospital.images import ImageSet, SplitImages  # noqa: E402
from fedthorax.common.pairing import evaluation_pairs  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.scoring import Predictions, predict  # noqa: E402


def drawn(count: int, targets: np.ndarray, size: int, seed: int) -> ImageSet:
    """Images of noise, which cost what pictures cost."""
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
    names = tuple(f"{seed}-{row}" for row in range(count))
    return ImageSet(images, targets, tuple(map(Path, names)), names, names)


def naive(network: Network, split: SplitImages, seed: int, partners: int, batch_size: int) -> Predictions:
    """What anyone would write with Keras: the pairs as arrays, predicted, and averaged over the partners."""
    labels = network.experiment.labels
    disease = np.zeros((len(split.xray), len(labels.findings)), np.float32)
    cancer = np.zeros((len(split.ct), len(labels.cancer_classes)), np.float32)
    for partner in range(partners):
        pairs = evaluation_pairs(
            len(split.xray), len(split.ct), derive_seed(seed, "partner", partner) if partner else seed
        )
        inputs = {
            "xray": split.xray.images[pairs.xray].astype(np.float32),
            "ct": split.ct.images[pairs.ct].astype(np.float32),
        }
        found = network.model.predict(inputs, batch_size=batch_size, verbose=0)
        disease[pairs.xray[pairs.counts_xray]] += found["disease"][pairs.counts_xray]
        cancer[pairs.ct[pairs.counts_ct]] += found["cancer"][pairs.counts_ct]
    return Predictions(disease / partners, cancer / partners)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--xrays", type=int, default=48)
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.config, [f"model.image_size={arguments.image_size}", *arguments.overrides])
    network, labels, partners = Network(experiment), experiment.labels, experiment.evaluation.partners
    rng = np.random.default_rng(1)
    findings = rng.integers(0, 2, (arguments.xrays, len(labels.findings))).astype(np.float32)
    classes = rng.integers(0, len(labels.cancer_classes), arguments.slices).astype(np.int32)
    split = SplitImages(
        drawn(arguments.xrays, findings, arguments.image_size, 2),
        drawn(arguments.slices, classes, arguments.image_size, 3),
    )
    size = experiment.evaluation.batch_size
    naive(network, split, 1, 1, size)  # traces
    predict(network, FeatureStore(network, None), split, 1)  # traces
    spent: dict[str, list[float]] = {"ours": [], "model.predict": []}
    apart = 0.0
    for repeat in range(arguments.repeats):
        begun = time.perf_counter()
        mine, _ = predict(network, FeatureStore(network, None), split, repeat)
        between = time.perf_counter()
        theirs = naive(network, split, repeat, partners, size)
        spent["ours"].append(between - begun)
        spent["model.predict"].append(time.perf_counter() - between)
        apart = max(apart, float(np.abs(mine.disease - theirs.disease).max()))
        apart = max(apart, float(np.abs(mine.cancer - theirs.cancer).max()))
    number = arguments.xrays + arguments.slices
    what = f"{arguments.xrays} X-rays and {arguments.slices} CT slices of {arguments.image_size} pixels"
    print(f"{what}, {partners} partners")
    for name, seconds in spent.items():
        print(f"{name}: {number / statistics.median(seconds):.1f} images/s, {statistics.median(seconds):.2f} s")
    ratios = [theirs / ours for ours, theirs in zip(*spent.values(), strict=True)]
    print(f"ours is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f}-{max(ratios):.2f})")
    print(f"largest difference of a probability: {apart:.2g}")


if __name__ == "__main__":
    main()
