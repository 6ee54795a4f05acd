import keras
import numpy as np
import pytest
import tensorflow as tf

from fedthorax.common.algorithms.fedprox import Pull
from fedthorax.common.algorithms.settings import StrategySettings
from fedthorax.common.config import Experiment
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import fit
from fedthorax.common.training.network import Network


def test_the_pull_is_the_distance_to_the_common_model_times_the_weight():
    """Its gradient, by TensorFlow from the term as the paper writes it: half the weight times the squared distance."""
    variable, anchor = keras.Variable([3.0, 3.0]), tf.constant([3.0, 3.0])
    pull = Pull(StrategySettings(proximal=0.5), [variable] * 2)
    pull.begin([None] * 2)
    variable.assign([1.0, 4.0])
    with tf.GradientTape() as tape:
        term = 0.5 / 2 * tf.reduce_sum(tf.square(variable.value - anchor))
    expected = tape.gradient(term, variable.value).numpy() + np.array([10, 20])
    (found, nothing) = pull.change([tf.constant([10.0, 20.0]), None])
    assert np.array_equal(found, expected)
    assert nothing is None


@pytest.mark.ci
def test_with_fedprox_a_hospital_stays_nearer_to_the_common_model(small_experiment, draw_images):
    def distance(strategy: str, proximal: float) -> float:
        raw = small_experiment.model_dump()
        raw["federation"] |= {"strategy": strategy, "strategy_settings": {"proximal": proximal}}
        raw["training"] |= {"clip_norm": None}
        network = Network(Experiment.model_validate(raw))
        before = network.layout.read(["fusion"])["fusion"]
        phase = small_experiment.training.phases[0].model_copy(update={"trainable": "heads", "local_epochs": 8})
        fit(network, FeatureStore(network, None), draw_images(8, 8), draw_images(0, 0), phase, 0.01, seed=1)
        return float(np.square(network.layout.read(["fusion"])["fusion"] - before).sum())

    free, held = distance("fedavg", 0.01), distance("fedprox", 1.0)
    assert held < 0.5 * free
