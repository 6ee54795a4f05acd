"""A network of narrow heads on features of 64 numbers, and patients whose labels have nothing to do with them."""

from dataclasses import replace

import numpy as np
import pytest

from fedthorax.common.config.patient_privacy import PatientPrivacy
from fedthorax.common.config.training import AugmentationConfig, PhaseConfig
from fedthorax.common.leakage.pool import joined


@pytest.fixture(scope="package")
def heads(small_experiment):
    """Trains long enough to learn by heart."""
    from fedthorax.common.training.network import Network
    from fedthorax.common.training.runtime import prepare_tensorflow

    prepare_tensorflow(2)
    training = small_experiment.training.model_copy(
        update={
            "phases": (PhaseConfig(rounds=12, trainable="heads", local_epochs=2),),
            "batch_size": 8,
            "learning_rate": 3e-3,
            "augmentation": AugmentationConfig(enabled=False),
        }
    )
    model = small_experiment.model.model_copy(update={"encoder_units": 64, "feature_units": 32, "fusion_units": (32,)})
    return Network(small_experiment.model_copy(update={"training": training, "model": model}))


@pytest.fixture
def start(heads):
    if not hasattr(heads, "starting_heads"):
        heads.starting_heads = heads.layout.read(heads.trained_segments("heads"))
    return heads.starting_heads


@pytest.fixture
def draw_pool(heads, draw_images):
    """``hospitals`` with as many training and test patients, each with one X-ray and one CT slice."""

    def draw(train=24, test=24, hospitals=("north",)):
        parts = {"xray": [], "ct": []}
        random = np.random.default_rng(0)
        for place, site in enumerate(hospitals):
            for number, (split, count) in enumerate((("train", train), ("test", test))):
                images = draw_images(count, count, seed=10 * place + number)
                for kind, of_kind in parts.items():
                    features = random.normal(size=(count, heads.pooled_width(kind))).astype(np.float32)
                    one = images.of(kind)
                    own = tuple(f"{split} {row}" for row in range(count))
                    of_kind.append((site, split, replace(one, patients=own, named=(True,) * count), [features]))
        return joined(parts)

    return draw


@pytest.fixture(scope="package")
def private_network(small_experiment):
    """Linear heads on fixed directions, private for patients: epsilon 1 in ten steps."""
    from fedthorax.common.training.network import Network

    privacy = PatientPrivacy(
        mechanism="local", epsilon=1.0, delta=1e-5, clip=0.1, sampling_rate=1.0, steps=10, patients=100
    )
    narrow = {"absent": "token", "projection": "fixed", "feature_units": 64, "fusion_units": (), "head_norm": "none"}
    model = small_experiment.model.model_copy(update=narrow)
    labels = small_experiment.labels.model_copy(update={"findings": tuple(f"finding {n}" for n in range(12))})
    phases = (PhaseConfig(rounds=10, trainable="heads", learning_rate=10.0),)
    training = small_experiment.training.model_copy(update={"phases": phases})
    hospitals = dict.fromkeys(("north", "south"), small_experiment.data.hospitals["north"])
    data = small_experiment.data.model_copy(update={"hospitals": hospitals})
    changed = {"data": data, "model": model, "labels": labels, "training": training, "privacy": privacy}
    return Network(small_experiment.model_copy(update=changed))


@pytest.fixture
def private_start(private_network):
    """Heads that answer nothing yet."""
    sizes = private_network.layout.sizes
    return {name: np.zeros(sizes[name], np.float32) for name in private_network.trained_segments("heads")}


@pytest.fixture
def draw_private_pool(private_network, draw_images):
    """Patients of twelve findings, each with one X-ray, and none with a slice: ``train`` and ``test`` a hospital."""

    def draw(train=20, test=0, hospitals=("north",)):
        parts, random = {"xray": [], "ct": []}, np.random.default_rng(0)
        for place, site in enumerate(hospitals):
            for number, (split, count) in enumerate((("train", train), ("test", test))):
                images = draw_images(count, 0, seed=10 * place + number)
                targets = random.integers(0, 2, (count, 12)).astype(np.float32)
                xray = replace(images.xray, targets=targets, named=(True,) * count)
                for kind, one in (("xray", xray), ("ct", images.ct)):
                    features = random.normal(size=(len(one), private_network.pooled_width(kind))).astype(np.float32)
                    parts[kind].append((site, split, one, [features]))
        return joined(parts)

    return draw
