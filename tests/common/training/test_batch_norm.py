import keras
import numpy as np

from fedthorax.common.training.batch_norm import measure_batch_norm
from fedthorax.common.training.features import FeatureStore


def test_the_heads_statistics_become_those_of_the_images(fresh, store, draw_images):
    images = draw_images(6, 4)
    measure_batch_norm(fresh, store, images)
    hidden = fresh.model.get_layer("xray_dense")(store.pooled("xray", images.xray))
    layer = fresh.model.get_layer("xray_batch_norm")
    normalised = np.asarray(layer(hidden, training=False))
    assert np.allclose(normalised.mean(axis=0), 0, atol=1e-4)
    spread = np.asarray(hidden).var(axis=0)
    assert np.allclose(normalised.var(axis=0), spread / (spread + layer.epsilon), atol=1e-3)


def test_a_backbones_first_layer_gets_mean_and_variance_of_all_batches_together(fresh, store, draw_images):
    """Batches of 4 of 6 images: the variance between the batches' means belongs to the whole."""
    images = draw_images(6, 0)
    backbone = fresh.model.get_layer("xray_backbone").get_layer("xray_backbone_network")
    layer = next(one for one in backbone.layers if isinstance(one, keras.layers.BatchNormalization))
    measure_batch_norm(fresh, store, images)
    before = keras.Model(backbone.inputs[0], layer.input)
    maps = np.asarray(before(images.xray.images.astype(np.float32)))
    assert np.allclose(layer.moving_mean, maps.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-3)
    assert np.allclose(layer.moving_variance, maps.var(axis=(0, 1, 2)), rtol=1e-3, atol=1e-3)


def test_it_draws_nothing_and_leaves_momentum_dropout_and_the_rest_as_they_were(fresh, draw_images):
    images, found = draw_images(5, 5), []
    for _ in range(2):
        fresh.layout.write(fresh.starting_weights)
        measure_batch_norm(fresh, FeatureStore(fresh, None), images)
        found.append(fresh.layout.read())
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])
    assert {layer.momentum for layer in fresh.model.layers if hasattr(layer, "momentum")} == {0.9}
    moving = {segment: fresh.layout.statistics(segment) for segment in found[0]}
    for segment, values in found[0].items():
        rest = np.ones(values.size, bool)
        for where in moving[segment]:
            rest[where] = False
        assert np.array_equal(values[rest], fresh.starting_weights[segment][rest])


def test_a_modality_without_images_keeps_what_it_has(fresh, store, draw_images):
    measure_batch_norm(fresh, store, draw_images(4, 0))
    after = fresh.layout.read()
    assert np.array_equal(after["ct.projection"], fresh.starting_weights["ct.projection"])
    assert not np.array_equal(after["xray.projection"], fresh.starting_weights["xray.projection"])


def test_of_what_is_not_trained_the_statistics_stay_and_those_behind_it_are_of_what_it_gives(fresh, draw_images):
    """Else the heads' statistics are of another backbone than the model's."""
    images = draw_images(6, 4)
    measure_batch_norm(fresh, FeatureStore(fresh, None), images, "heads")
    after = fresh.layout.read()
    assert all(np.array_equal(after[name], fresh.starting_weights[name]) for name in after if "backbone" in name)
    pooled = fresh.features("xray")(images.xray.images.astype(np.float32))
    hidden = np.asarray(fresh.model.get_layer("xray_dense")(pooled))
    layer = fresh.model.get_layer("xray_batch_norm")
    assert np.allclose(layer.moving_mean, hidden.mean(axis=0), rtol=1e-4, atol=1e-6)
