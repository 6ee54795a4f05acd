import keras
import numpy as np
import pytest

from fedthorax.common.model.backbone import IMAGENET_DEVIATION, IMAGENET_MEAN, build_backbone
from fedthorax.common.model.pretrained import find_weights, load_backbone_weights


def fresh_backbone() -> keras.Model:
    return build_backbone("EfficientNetB0", 32, "xray_backbone", "frozen", 0.9)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


def checkpoint(path, stored: tuple[float, ...]) -> None:
    """A weights file like the published ones, whose normalisation holds ``stored`` where a variance belongs."""
    keras.utils.set_random_seed(4)
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    layer.adapt_mean.assign(np.reshape(IMAGENET_MEAN, layer.adapt_mean.shape))
    layer.adapt_variance.assign(np.reshape(stored, layer.adapt_variance.shape))
    network.save_weights(path)


@pytest.fixture(scope="module")
def google_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("google") / "efficientnetb0_notop.weights.h5"
    checkpoint(path, IMAGENET_DEVIATION)
    return path


def features_by_path(path, images) -> np.ndarray:
    backbone = fresh_backbone()
    load_backbone_weights(backbone, path)
    return np.asarray(backbone(images))


def agree(features: np.ndarray, expected: np.ndarray) -> bool:
    """Equal to a thousandth of the largest feature: an untrained network's features are tiny."""
    return bool(np.abs(features - expected).max() < 1e-3 * np.abs(expected).max())


@pytest.mark.ci
def test_a_file_by_path_gives_the_features_of_the_same_checkpoint_by_name(google_file, images, monkeypatch):
    # keras.applications by name: the same file through its own download cache, extra rescaling layer and all.
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(google_file))
    by_name = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", input_shape=(32, 32, 3), pooling="avg"
    )
    expected = np.asarray(by_name(images))
    assert agree(features_by_path(google_file, images), expected)


@pytest.mark.ci
def test_loading_that_file_the_plain_keras_way_would_be_wrong(google_file, images):
    plain = keras.applications.EfficientNetB0(
        include_top=False, weights=str(google_file), input_shape=(32, 32, 3), pooling="avg"
    )
    assert not agree(features_by_path(google_file, images), np.asarray(plain(images)))


@pytest.mark.ci
def test_a_file_that_holds_a_variance_is_taken_as_it_is(google_file, images, tmp_path):
    file = tmp_path / "variance.weights.h5"
    checkpoint(file, tuple(deviation**2 for deviation in IMAGENET_DEVIATION))
    assert agree(features_by_path(file, images), features_by_path(google_file, images))


def test_the_correction_survives_saving(google_file, images, tmp_path):
    backbone = fresh_backbone()
    load_backbone_weights(backbone, google_file)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    assert np.array_equal(np.asarray(loaded(images)), np.asarray(backbone(images)))


def test_the_file_of_another_network_is_refused(tmp_path):
    file = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(file)
    with pytest.raises(ValueError, match=r"model.weights: .*other.weights.h5 does not fit"):
        load_backbone_weights(fresh_backbone(), file)


def test_imagenet_without_its_file_says_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDTHORAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    with pytest.raises(
        FileNotFoundError, match=r"efficientnetb0_notop.h5, which is not in .*fedthorax weights get EfficientNetB0"
    ):
        find_weights("imagenet", "EfficientNetB0")
    (tmp_path / "efficientnetb0_notop.h5").touch()
    assert find_weights("imagenet", "EfficientNetB0") == tmp_path / "efficientnetb0_notop.h5"


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model.weights: no such file: .*nowhere.h5"):
        find_weights(str(tmp_path / "nowhere.h5"), "EfficientNetB0")


def test_none_means_random_weights():
    assert find_weights("none", "EfficientNetB0") is None
