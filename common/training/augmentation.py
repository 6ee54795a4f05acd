"""Light random changes of training images: rotation, shift, zoom, brightness, contrast; never upside down.

Stateless: the same seed gives the same images, whatever ran before.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.config.training import AugmentationConfig
from fedthorax.common.ground.seeds import derive_seed


def view_of(
    images: NDArray[np.float32], digests: Sequence[str], config: AugmentationConfig, view: int, may_flip: bool
) -> NDArray[np.float32]:
    """Images (N, S, S, 3) in 0…255 as they are for ``view`` 0, else each changed at random.

    How depends on the image's digest and the number of the view alone: every run and every user finds the same ones.
    """
    if not view:
        return images
    changed = np.empty_like(images)
    for row, digest in enumerate(digests):
        seed = tf.constant([view, derive_seed(view, "version", digest)], tf.int32)
        changed[row] = augment(images[row : row + 1], config, seed, may_flip)[0].numpy()
    return changed


def augment(images: tf.Tensor, config: AugmentationConfig, seed: tf.Tensor, may_flip: bool) -> tf.Tensor:
    """Change each image of a float batch (N, S, S, 3) in 0…255 on its own; ``seed`` is an int32 tensor of shape (2,).

    Pixels that come from outside the image are black, as collimated borders are.
    """
    count, size = tf.shape(images)[0], tf.cast(tf.shape(images)[1], tf.float32)
    seeds = tf.random.split(seed, 7)

    def draw(index: int, limit: float) -> tf.Tensor:
        return tf.random.stateless_uniform([count], seeds[index], -limit, limit)

    angle = draw(0, math.radians(config.rotation_degrees))
    scale = 1.0 + draw(1, config.zoom)
    shift_x, shift_y = draw(2, config.translation) * size, draw(3, config.translation) * size
    mirror = tf.ones([count])
    if may_flip and config.ct_flip:
        mirror = tf.where(tf.random.stateless_uniform([count], seeds[6]) < 0.5, -1.0, 1.0)
    # Rows of the projective transform from output to input, about the image's centre.
    centre = (size - 1) / 2
    cosine, sine = tf.cos(angle) * scale, tf.sin(angle) * scale
    a0, a1 = cosine * mirror, -sine
    b0, b1 = sine * mirror, cosine
    zero = tf.zeros([count])
    transforms = tf.stack(
        [a0, a1, centre - (a0 + a1) * centre + shift_x, b0, b1, centre - (b0 + b1) * centre + shift_y, zero, zero],
        axis=1,
    )
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    contrast = (1.0 + draw(4, config.contrast))[:, None, None, None]
    brightness = (255.0 * draw(5, config.brightness))[:, None, None, None]
    mean = tf.reduce_mean(moved, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value((moved - mean) * contrast + mean + brightness, 0.0, 255.0)
