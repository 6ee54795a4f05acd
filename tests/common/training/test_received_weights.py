"""A hospital of a consortium builds its network at random and gets all weights from the server."""

import keras
import numpy as np
import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.training.network import Network


@pytest.fixture
def experiment(experiment_file, tmp_path, monkeypatch):
    """EfficientNet, because its Normalization layer keeps weights outside what is trained."""
    # TensorFlow of this process may have been started by another test, with other threads; the bits agree all the same.
    monkeypatch.setattr("fedthorax.common.training.network.prepare_tensorflow", lambda threads: threads)
    backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.4, 0.5, 0.6])
            layer.adapt_variance.assign([0.05, 0.06, 0.07])
    backbone.save_weights(tmp_path / "pretrained.weights.h5")
    sets = [f"model.weights={tmp_path}/pretrained.weights.h5", "model.image_size=32"]
    return load_experiment(experiment_file(), [*sets, "model.encoder_units=8", "model.feature_units=4"])


@pytest.mark.ci
def test_a_network_with_received_weights_is_the_servers_bit_by_bit(experiment):
    server, site = Network(experiment), Network(travelling(experiment))
    assert site.layout.digest == server.layout.digest
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    assert site.layout.read()["ct.backbone"].tobytes() != server.layout.read()["ct.backbone"].tobytes()
    # Before anything is traced, as in the site worker: a Normalization layer's numbers become constants of the graph.
    site.layout.write(server.layout.read())
    for modality in ("xray", "ct"):
        ours, theirs = (network.features(modality)(images).numpy() for network in (site, server))
        assert ours.tobytes() == theirs.tobytes()
    ours, theirs = (network.model({"xray": images, "ct": images}) for network in (site, server))
    assert {name: value.numpy().tobytes() for name, value in ours.items()} == {
        name: value.numpy().tobytes() for name, value in theirs.items()
    }
