"""The backbones of a network in training, traced once for all of them.

They have the same layers and differ in their weights alone. So one graph function, which takes the weights as inputs,
serves every modality: layers are traced once, and so is the gradient.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from fedthorax.common.model.backbone import all_layers

_POLICIES = {"mixed_float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
_SCALE = 1024.0  # of gradients in float16, which has nothing between 0 and 6e-8


def training_encoders(
    backbones: Sequence[keras.Model], precision: str = "float32"
) -> Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]:
    """For backbones alike, or as many of the last blocks of each: a batch for each, of images (N, S, S, 3) or of what
    lies below the blocks → pooled features (N, D), in training mode.

    To be called inside a graph function. Moving statistics and random states change as they do when the backbones
    themselves are called.

    In another ``precision`` their layers calculate in half of it, from weights that stay float32 to features that are
    again; batch normalisation keeps float32 statistics. The gradients of float16 are scaled up on their way in and down
    where they come out, or small ones would vanish.
    """
    scaled = precision == "mixed_float16"
    pattern = backbones[0]
    changed: list[int] = []  # places of the variables that a call changes, known once it is traced

    @tf.function(autograph=False)
    def encode(learned: list[tf.Tensor], kept: list[tf.Tensor], images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        if scaled:
            learned = [_with_gradient_times(values, 1 / _SCALE) for values in learned]
        # A name above the layers': of EfficientNetLite0 they begin with an underscore, which none at the top may.
        scope = tf.name_scope("encoder")
        with scope, fused_batch_norm(all_layers(pattern)), _calculating(all_layers(pattern), precision):
            features, after = pattern.stateless_call(learned, kept, images, training=True)
        changed[:] = [place for place, (old, new) in enumerate(zip(kept, after, strict=True)) if old is not new]
        if precision != "float32":
            features = tf.cast(features, tf.float32)
        if scaled:
            features = _with_gradient_times(features, _SCALE)
        # Without the stop, the gradient of what changes is traced too, with zeros coming in.
        return features, [tf.stop_gradient(after[place]) for place in changed]

    def encoded(batches: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        pooled = []
        for backbone, images in zip(backbones, batches, strict=True):
            learned = [tf.convert_to_tensor(variable.value) for variable in backbone.trainable_variables]
            others = backbone.non_trainable_variables
            features, after = encode(learned, [tf.convert_to_tensor(variable.value) for variable in others], images)
            for place, value in zip(changed, after, strict=True):
                others[place].assign(value)
            pooled.append(features)
        return pooled

    return encoded


@contextmanager
def _called_as(layers: Iterable[keras.layers.Layer], call: Callable[..., Any]) -> Iterator[None]:
    """While a graph is traced in here, ``call`` of each of ``layers`` takes the place of its own."""
    changed = list(layers)
    try:
        for layer in changed:
            layer.call = partial(call, layer)
        yield
    finally:
        for layer in changed:
            del layer.call


def fused_batch_norm(layers: Sequence[keras.layers.Layer]) -> AbstractContextManager[None]:
    """While a graph is traced in here, every batch normalisation of ``layers`` that learns becomes one kernel.

    Keras 3 composes it of means, differences and products: the 49 of an EfficientNet-B0 are two thirds of the graph,
    and each goes through its activations several times (docs/performance.md has the figures).
    Layers keep their class, which is what a saved model names; only what they trace is another thing. The figures are
    those of Keras but for rounding.
    """
    shares: dict[tuple[int, int], tf.Tensor] = {}
    return _called_as(filter(_can_be_fused, layers), partial(_fused, shares))


@contextmanager
def _calculating(layers: Sequence[keras.layers.Layer], precision: str) -> Iterator[None]:
    """While a graph is traced in here, ``layers`` calculate in ``precision``."""
    before = [(layer, layer.dtype_policy, layer.autocast) for layer in layers]
    try:
        for layer in layers if precision != "float32" else ():
            if _can_be_fused(layer):
                layer.autocast = False  # its kernel takes half the precision as it comes, beside float32 statistics
            else:
                layer.dtype_policy = _POLICIES[precision]
        yield
    finally:
        for layer, policy, autocast in before:
            layer.dtype_policy, layer.autocast = policy, autocast


def _with_gradient_times(values: tf.Tensor, factor: float) -> tf.Tensor:
    @tf.custom_gradient
    def same(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.identity(values), lambda gradient: gradient * factor

    return same(values)


def as_in_inference(layers: Sequence[keras.layers.Layer]) -> AbstractContextManager[None]:
    """While a graph is traced in here, ``layers`` of a network in training neither drop out nor learn statistics."""
    kinds = (keras.layers.BatchNormalization, keras.layers.Dropout)
    return _called_as((layer for layer in layers if isinstance(layer, kinds)), _still)


def _still(layer: keras.layers.Layer, inputs: tf.Tensor, training: bool | None = None, **rest: Any) -> tf.Tensor:
    return type(layer).call(layer, inputs, training=False, **rest)


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
    shares: dict[tuple[int, int], tf.Tensor],
    layer: keras.layers.BatchNormalization,
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
