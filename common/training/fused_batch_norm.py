"""Batch normalisation in training as one kernel, where Keras 3 composes it of means, differences and products.

Composed, the 49 normalisations of an EfficientNet-B0 are two thirds of the graph, forwards and backwards, and each of
them goes through its activations several times (docs/performance.md has the figures).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import keras
import tensorflow as tf


@contextmanager
def fused_batch_norm(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """While a graph is traced in here, every batch normalisation of ``layers`` that learns becomes that kernel.

    Layers keep their class, which is what a saved model names; only what they trace is another thing. The figures are
    those of Keras but for rounding.
    """
    changed = [layer for layer in layers if _can_be_fused(layer)]
    shares: dict[tuple[int, int], tf.Tensor] = {}
    try:
        for layer in changed:
            layer.call = partial(_fused, layer, shares)
        yield
    finally:
        for layer in changed:
            del layer.call


def _can_be_fused(layer: keras.layers.Layer) -> bool:
    """Learning, over images (N, H, W, C), and of the plain kind."""
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not (layer.synchronized or layer.renorm)
        and layer.input_spec is not None
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
    )


def _fused(
    layer: keras.layers.BatchNormalization,
    shares: dict[tuple[int, int], tf.Tensor],
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    if not training or mask is not None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma.value if layer.scale else tf.ones(channels),
        offset=layer.beta.value if layer.center else tf.zeros(channels),
        mean=layer.moving_mean.value,
        variance=layer.moving_variance.value,
        epsilon=layer.epsilon,
        exponential_avg_factor=1 - layer.momentum,
        is_training=True,
    )
    # The kernel's variance of N values is their squares' sum divided by N - 1; Keras 3 divides by N. 1 / N is a node of
    # the graph for each size of an image, not for each layer.
    size = inputs.shape[1:3]
    if tuple(size) not in shares:
        shares[tuple(size)] = 1 / tf.cast(tf.shape(inputs)[0] * size[0] * size[1], tf.float32)
    kept = layer.moving_variance.value * layer.momentum
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance + (kept - variance) * shares[tuple(size)])
    return outputs
