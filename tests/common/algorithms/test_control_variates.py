import numpy as np
import pytest
import tensorflow as tf

from fedthorax.common.config import Experiment
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import fit
from fedthorax.common.training.network import Network

HEADS = ("fusion", "disease", "cancer")


@pytest.fixture(scope="module")
def network(small_experiment):
    raw = small_experiment.model_dump()
    raw["federation"] |= {"strategy": "scaffold"}
    raw["training"] |= {"batch_size": 8}
    found = Network(Experiment.model_validate(raw))
    return found, found.layout.read()


def one_step(network, start, images, empty, given=None):
    network.layout.write(start)
    phase = network.experiment.training.phases[0].model_copy(update={"trainable": "heads"})
    fitted = fit(network, FeatureStore(network, None), images, empty, phase, 0.01, seed=1, given=given)
    assert fitted.steps == 1
    return network.gathered("heads", fitted.steps)


def test_the_mean_gradient_is_that_of_the_loss(network, draw_images):
    """One step of all 8 pairs: the loss does not depend on how they are paired, as far as a bias of the heads goes: the
    gradient of the disease head's bias is the mean of probability less label, over all findings."""
    network, start = network
    images = draw_images(8, 8)
    found = network.layout.by_variable(one_step(network, start, images, draw_images(0, 0)))
    chance = tf.sigmoid(0.0).numpy()  # a random network of a frozen backbone gives logits near 0
    expected = (chance - images.xray.targets).mean(axis=0) / images.xray.targets.shape[1]
    assert np.allclose(found["disease_logits/bias"], expected, atol=2e-3)


def test_with_the_gradient_taken_off_nothing_moves_not_a_bit(network, draw_images):
    network, start = network
    images = draw_images(8, 8)
    gradients = one_step(network, start, images, draw_images(0, 0))
    free = network.layout.read()
    again = one_step(network, start, images, draw_images(0, 0), {name: -values for name, values in gradients.items()})
    held = network.layout.read()
    for segment in HEADS:
        assert np.array_equal(held[segment], start[segment])
        assert not np.array_equal(free[segment], start[segment])
        assert np.array_equal(again[segment], gradients[segment])  # the control variate is of the uncorrected ones


def test_a_correction_lasts_for_one_task(network, draw_images):
    network, start = network
    images = draw_images(8, 8)
    plain = one_step(network, start, images, draw_images(0, 0))
    first = network.layout.read()
    one_step(network, start, images, draw_images(0, 0), {name: values + 1 for name, values in plain.items()})
    one_step(network, start, images, draw_images(0, 0))
    assert all(np.array_equal(first[name], network.layout.read()[name]) for name in HEADS)
