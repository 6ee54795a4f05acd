"""A network of narrow heads on features of 64 numbers, and patients whose labels have nothing to do with them."""

from dataclasses import replace

import numpy as np
import pytest

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
