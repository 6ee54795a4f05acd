"""Which batch-normalisation policy should the backbones have, and does fine-tuning pay? Centralised, on real images.

    python benchmarks/batch_norm.py configs/real.yaml --passes 2

Trains the heads on frozen features, then everything for some passes, once with the backbones' batch normalisation
frozen and once learning, from the same weights and pairs; prints the central validation and test figures after every
pass.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

from fedthorax.common.config import Experiment  # noqa: E402  after TensorFlow has been told to be quiet
from fedthorax.common.config.load import load_experiment  # noqa: E402
from fedthorax.common.config.training import PhaseConfig  # noqa: E402
from fedthorax.common.ground.seeds import derive_seed  # noqa: E402
from fedthorax.common.hospital.images import SplitImages  # noqa: E402
from fedthorax.common.hospital.overlap import shared_images, without  # noqa: E402
from fedthorax.common.hospital.site import load_hospital  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.fit import fit  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.scoring import score  # noqa: E402
from fedthorax.simulations.centralised import pool_sites  # noqa: E402


def images_of(experiment: Experiment) -> tuple[dict[str, SplitImages], SplitImages, SplitImages]:
    """The hospitals' splits pooled, and the central validation and test splits without images that stand in them."""
    pooled = pool_sites("pooled", [load_hospital(experiment, name) for name in experiment.data.hospitals]).splits
    central = load_hospital(experiment, "central").splits
    held = {digest for split in pooled.values() for digest in (*split.xray.digests, *split.ct.digests)}
    test = central["test"]
    test = replace(
        test,
        xray=without(test.xray, shared_images(test.xray, held)),
        ct=without(test.ct, shared_images(test.ct, held)),
    )
    return dict(pooled), central["valid"], test


def measure(experiment: Experiment, heads_passes: int, passes: int, rate: float) -> None:
    pooled, valid, test = images_of(experiment)
    network = Network(experiment)
    store = FeatureStore(network, experiment.data.cache.folder)
    heads = PhaseConfig(rounds=heads_passes, trainable="heads")
    everything = PhaseConfig(rounds=max(passes, 1), trainable="all")
    schedule = [
        (heads, experiment.training.phases[0].learning_rate or experiment.training.learning_rate)
    ] * heads_passes
    schedule += [(everything, rate)] * passes
    for number, (phase, learning_rate) in enumerate(schedule, start=1):
        seed = derive_seed(experiment.seed, "batch norm", number)
        report = fit(network, store, pooled["train"], pooled["valid"], phase, learning_rate, seed, keep_optimizer=True)
        if number >= heads_passes:
            line = (
                f"{experiment.model.batch_norm:>7} pass {number:>2} {phase.trainable:>5} train loss {report.loss:.3f}"
            )
            for name, split in (("valid", valid), ("test", test)):
                scores = score(network, store, split, experiment.seed)
                disease, cancer = scores["disease"]["macro"], scores["cancer"]
                line += (
                    f" | {name}: X-ray ROC-AUC {disease['roc_auc']:.3f}"
                    f" CT ROC-AUC {cancer['macro']['roc_auc']:.3f} accuracy {cancer['accuracy']:.3f}"
                )
            print(f"{line} | {report.seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--heads-passes", type=int, default=10)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of the second phase")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    for policy in ("frozen", "train"):
        overrides = [*arguments.overrides, f"model.batch_norm={policy}"]
        experiment = load_experiment(arguments.config, overrides, base=Path.cwd())
        measure(experiment, arguments.heads_passes, arguments.passes, arguments.rate)


if __name__ == "__main__":
    main()
