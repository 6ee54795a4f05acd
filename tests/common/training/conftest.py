"""A small network and a few drawn images, for everything that trains or scores."""

from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config import Experiment
from fedthorax.common.hospital.images import ImageSet, SplitImages

FINDINGS, CLASSES, SIZE = ("Effusion", "Mass", "Nodule"), ("normal", "tumour"), 32


@pytest.fixture(scope="package")
def small_experiment() -> Experiment:
    source = {"xray": "xray", "ct": "ct"}
    return Experiment.model_validate(
        {
            "name": "small",
            "labels": {"findings": FINDINGS, "cancer_classes": CLASSES},
            "data": {"hospitals": {"north": source}, "central": source},
            "model": {
                "backbone": "MobileNetV3Small",
                "image_size": SIZE,
                "weights": "none",
                "batch_norm": "train",
                "encoder_units": 16,
                "feature_units": 8,
                "fusion_units": [16, 8],
                "dropout": 0.0,
            },
            "training": {"phases": [{"rounds": 1, "trainable": "all"}], "batch_size": 4, "threads": 2},
            "evaluation": {"batch_size": 4, "partners": 1},
        }
    )


def some_images(num_xray: int, num_ct: int, seed: int = 0) -> SplitImages:
    """Noise with labels; digests tell image sets apart, as hashes of real pixels would."""
    random = np.random.default_rng([seed, num_xray, num_ct])

    def images(count: int, targets: np.ndarray, kind: str) -> ImageSet:
        pixels = random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
        names = tuple(f"{kind}-{seed}-{row}" for row in range(count))
        return ImageSet(pixels, targets, tuple(map(Path, names)), names, names)

    findings = random.integers(0, 2, (num_xray, len(FINDINGS))).astype(np.float32)
    classes = random.integers(0, len(CLASSES), num_ct).astype(np.int32)
    return SplitImages(images(num_xray, findings, "xray"), images(num_ct, classes, "ct"))


@pytest.fixture(scope="session")
def draw_images():
    return some_images


@pytest.fixture
def draw(draw_images):
    return draw_images


@pytest.fixture(scope="package")
def network(small_experiment):
    """One network for the package, as in a process; a test sets the weights that it needs."""
    from fedthorax.common.training.network import Network

    return Network(small_experiment)


@pytest.fixture
def fresh(network):
    """The network with its starting weights."""
    if not hasattr(network, "starting_weights"):
        network.starting_weights = network.layout.read()
    network.layout.write(network.starting_weights)
    return network


@pytest.fixture
def store(fresh):
    from fedthorax.common.training.features import FeatureStore

    return FeatureStore(fresh, None)
