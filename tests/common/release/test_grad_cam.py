"""Maps of the evidence: they depend on the picture, the label and the weights."""

import keras
import numpy as np
import pytest
from PIL import Image

from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.model.dual import build_model, draw_weights
from fedthorax.common.release.grad_cam import GradCam, map_words, overlay, save_overlay

LABELS = LabelsConfig(findings=("Effusion", "Mass"), cancer_classes=("normal", "tumour"))
SIZE = 128  # the last feature maps are 4 by 4


def built(**changes: str) -> keras.Model:
    config = ModelConfig(
        backbone="MobileNetV3Small",
        image_size=SIZE,
        weights="none",
        batch_norm="train",
        encoder_units=16,
        feature_units=8,
        fusion_units=(16, 8),
        dropout=0.0,
        **changes,
    )
    return build_model(config, LABELS, seed=1)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return built()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for name in ("xray", "ct")}


def test_each_modality_has_a_map_for_each_of_its_labels(model, images):
    maps = GradCam(model).maps(images)
    assert {name: heat.shape for name, heat in maps.items()} == {"xray": (2, 4, 4), "ct": (2, 4, 4)}
    for heat in maps.values():
        assert heat.min() >= 0
        assert set(heat.max(axis=(1, 2)).round(6)) <= {0.0, 1.0}


def test_the_map_is_the_gradient_of_the_logit_over_the_feature_maps(model, images):
    """Against Grad-CAM as the paper writes it: the gradient by every value of the feature maps, averaged."""
    import tensorflow as tf

    cam = GradCam(model)
    features = {name: cam._maps[name](images[name][None].astype("float32")) for name in ("xray", "ct")}
    with tf.GradientTape() as tape:
        tape.watch(features["xray"])
        pooled = [tf.reduce_mean(features[name], axis=(1, 2)) for name in ("xray", "ct")]
        logit = cam._heads(pooled, training=False)["disease"][0, 1]
    weights = tf.reduce_mean(tape.gradient(logit, features["xray"]), axis=(1, 2))[0]
    expected = np.maximum(np.tensordot(features["xray"][0].numpy(), weights.numpy(), axes=1), 0)
    largest = expected.max()
    np.testing.assert_allclose(cam.maps(images)["xray"][1], expected / largest if largest else expected, atol=1e-4)


def test_randomised_weights_give_different_maps(model, images):
    cam = GradCam(model)
    before = cam.maps(images)
    weights = model.get_weights()
    draw_weights(model, seed=2)
    after = cam.maps(images)
    model.set_weights(weights)
    again = cam.maps(images)
    assert max(np.abs(before[name] - after[name]).max() for name in before) > 0.2
    for name, heat in before.items():
        np.testing.assert_allclose(heat, again[name], atol=1e-5)


def test_another_picture_gives_another_map(model, images):
    cam = GradCam(model)
    other = {**images, "xray": np.ascontiguousarray(images["xray"][::-1])}
    assert np.abs(cam.maps(images)["xray"] - cam.maps(other)["xray"]).max() > 1e-3


def test_the_overlay_is_red_where_the_evidence_is_and_carries_its_caption(tmp_path):
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    picture = overlay(np.full((SIZE, SIZE, 3), 100, np.uint8), heat)
    pixels = np.asarray(picture, int)
    assert pixels[0, 0, 0] > pixels[0, 0, 2] + 50
    assert (pixels[-1, -1] == 100).all()
    save_overlay(tmp_path / "maps" / "a.png", picture, ("Mass: 0.750", "Not a medical device."))
    with Image.open(tmp_path / "maps" / "a.png") as saved:
        assert saved.text["Description"] == "Mass: 0.750 Not a medical device."
        assert saved.height > saved.width


def test_a_map_that_tells_no_place_says_so():
    even = np.array([[1.0, 0.8], [0.9, 0.76]], np.float32)
    assert map_words(even) == ["No place stands out: the map is nearly even."]
    assert map_words(np.zeros((2, 2), np.float32)) == ["Nothing in the picture speaks for it."]
    assert map_words(np.array([[1.0, 0.8], [0.9, 0.7]], np.float32)) == []


def test_one_image_alone_has_maps_where_the_model_has_tokens(images):
    cam = GradCam(built(absent="token"))
    alone = cam.maps({"xray": images["xray"]})
    assert {name: heat.shape for name, heat in alone.items()} == {"xray": (2, 4, 4)}
    assert alone["xray"].any()
    assert not np.allclose(alone["xray"], cam.maps(images)["xray"])  # the token is another partner than the CT slice
