import numpy as np
import pytest

from fedthorax.common.config.training import AugmentationConfig
from fedthorax.common.training.augmentation import augment

NOTHING = AugmentationConfig(rotation_degrees=0, translation=0, zoom=0, brightness=0, contrast=0)


def picture(count: int = 4) -> np.ndarray:
    """Bright above, dark below, a little brighter to the left: what is turned over is seen."""
    rows = np.linspace(220, 40, 16)[:, None] + np.linspace(20, 0, 16)[None, :]
    return np.repeat(np.repeat(rows[None, :, :, None], 3, 3), count, 0).astype(np.float32)


def changed(config: AugmentationConfig, seed=(1, 2), may_flip: bool = False) -> np.ndarray:
    import tensorflow as tf

    return augment(picture(), config, tf.constant(seed), may_flip).numpy()


def test_without_any_change_the_image_stays_as_it_was():
    assert changed(NOTHING) == pytest.approx(picture(), abs=1e-3)


def test_the_same_seed_gives_the_same_images_and_each_image_its_own_change():
    config = AugmentationConfig()
    assert np.array_equal(changed(config), changed(config))
    assert not np.array_equal(changed(config), changed(config, seed=(1, 3)))
    assert not np.array_equal(changed(config)[0], changed(config)[1])


def test_no_image_is_ever_upside_down_and_no_xray_mirrored():
    for seed in range(20):
        images = changed(AugmentationConfig(ct_flip=True), seed=(seed, 0))
        middle = images[:, 4:12, 4:12]
        assert (middle[:, :4].mean((1, 2, 3)) > middle[:, 4:].mean((1, 2, 3))).all()
        assert (middle[:, :, :4].mean((1, 2, 3)) > middle[:, :, 4:].mean((1, 2, 3)) - 15).all()


def test_a_ct_slice_may_be_mirrored_where_the_setting_says_so():
    images = changed(NOTHING.model_copy(update={"ct_flip": True}), seed=(3, 4), may_flip=True)
    mirrored = [np.allclose(image, picture()[0][:, ::-1], atol=1e-3) for image in images]
    kept = [np.allclose(image, picture()[0], atol=1e-3) for image in images]
    assert sum(mirrored) + sum(kept) == len(images)
    assert any(mirrored)


def test_values_stay_within_the_range_of_grey():
    images = changed(AugmentationConfig(brightness=0.5, contrast=0.9))
    assert images.min() >= 0
    assert images.max() <= 255
