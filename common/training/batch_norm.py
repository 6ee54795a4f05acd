"""Statistics of batch normalisation measured on some images, for a model whose hospitals keep theirs to themselves.

Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016 (AdaBN): the statistics are those of
the images that the model is used on. Scales and shifts stay what they were.
"""

import keras
import numpy as np
from numpy.typing import NDArray

from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.model.backbone import all_layers
from fedthorax.common.training.batches import batches
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import Trainable


def measure_batch_norm(
    network: Network, store: FeatureStore, images: SplitImages, trainable: Trainable = "all"
) -> None:
    """Set the moving means and variances of all layers that are ``trainable`` and not frozen to those of ``images``.

    What lies before them is used as it is, as the hospitals have used it. A modality without an image keeps what it
    has. Nothing in it is random.
    """
    for name, top in network.given(trainable).items():
        if not len(images.of(name)):
            continue
        if top != 0:
            _measure_backbone(network, name, top, images.of(name))
        if f"{name}.projection" not in network.trained_segments(trainable):
            continue
        layer = network.model.get_layer(f"{name}_batch_norm")
        hidden = network.model.get_layer(f"{name}_dense")(store.pooled(name, images.of(name)))
        values = np.asarray(hidden, np.float64)
        _set(layer, values.mean(axis=0), values.var(axis=0))


def _measure_backbone(network: Network, modality: str, top: int | None, images: ImageSet) -> None:
    """A layer deep inside sees what the layers before it, normalised by the same batch, have made of the images."""
    normalising, (_, backbone) = keras.layers.BatchNormalization, network.halves(modality, top)
    learning = [layer for layer in all_layers(backbone) if isinstance(layer, normalising) and layer.trainable]
    if not learning:
        return
    dropouts = [layer for layer in all_layers(backbone) if isinstance(layer, keras.layers.Dropout)]
    momenta, rates = [layer.momentum for layer in learning], [layer.rate for layer in dropouts]
    means: list[list[NDArray[np.float64]]] = [[] for _ in learning]
    variances: list[list[NDArray[np.float64]]] = [[] for _ in learning]
    sizes = []
    try:
        for layer in learning:
            layer.momentum = 0.0  # the moving statistics become those of the batch
        for layer in dropouts:
            layer.rate = 0.0
        for rows in batches(len(images), network.experiment.evaluation.batch_size):
            given = images.images[rows].astype(np.float32)
            backbone(network.features(modality, top)(given) if top else given, training=True)
            sizes.append(len(rows))
            for layer, mean, variance in zip(learning, means, variances, strict=True):
                mean.append(np.asarray(layer.moving_mean, np.float64))
                variance.append(np.asarray(layer.moving_variance, np.float64))
    finally:
        for layer, momentum in zip(learning, momenta, strict=True):
            layer.momentum = momentum
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.rate = rate
    for layer, mean, variance in zip(learning, means, variances, strict=True):
        middle = np.average(mean, axis=0, weights=sizes)
        spread = np.average(np.square(np.array(mean) - middle), axis=0, weights=sizes)
        _set(layer, middle, np.average(variance, axis=0, weights=sizes) + spread)


def _set(layer: keras.layers.Layer, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> None:
    layer.moving_mean.assign(mean.astype(np.float32))
    layer.moving_variance.assign(variance.astype(np.float32))
