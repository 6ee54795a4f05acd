"""The backbones of a network in training, traced once for all of them.

They have the same layers and differ in their weights alone. So one graph function, which takes the weights as inputs,
serves every modality: layers are traced once, and so is the gradient.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from fedthorax.common.model.backbone import all_layers
from fedthorax.common.model.dual import modalities_of
from fedthorax.common.training.fused_batch_norm import fused_batch_norm


def training_encoders(model: keras.Model) -> Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]:
    """Image batches (N, S, S, 3) in the order of the modalities → pooled features (N, D), in training mode.

    To be called inside a graph function. Moving statistics and random states change as they do when the backbones
    themselves are called.
    """
    backbones = [model.get_layer(f"{name}_backbone") for name in modalities_of(model)]
    pattern = backbones[0]
    changed: list[int] = []  # places of the variables that a call changes, known once it is traced

    @tf.function(autograph=False)
    def encode(learned: list[tf.Tensor], kept: list[tf.Tensor], images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with fused_batch_norm(all_layers(pattern)):
            features, after = pattern.stateless_call(learned, kept, images, training=True)
        changed[:] = [place for place, (old, new) in enumerate(zip(kept, after, strict=True)) if old is not new]
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
