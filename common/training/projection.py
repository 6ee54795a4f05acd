"""Where heads of few values begin (model.projection: fixed): at what the server's own images say."""

import numpy as np

from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network


def set_projection(network: Network, store: FeatureStore, images: SplitImages) -> None:
    """For each modality the directions in which ``images`` differ most (principal components), each shifted and scaled
    to mean 0 and variance 1 over them, and the outputs' biases at how frequent findings and classes are among them. A
    modality of which there is none keeps its random directions.

    ValueError where there are too few images for so many directions.
    """
    for modality in network.modalities:
        shown = images.of(modality)
        layer = network.model.get_layer(f"{modality}_features")
        if not len(shown):
            continue
        if len(shown) <= layer.units:
            raise ValueError(
                f"model.projection is fixed to {layer.units} directions (model.feature_units), but data.central has "
                f"only {len(shown)} validation images of {modality} to find them in; lower it, or give more images"
            )
        pooled = np.asarray(store.pooled(modality, shown, keep=True), np.float64)
        mean = pooled.mean(axis=0)
        _, lengths, directions = np.linalg.svd(pooled - mean, full_matrices=False)
        deviations = np.maximum(lengths[: layer.units] / np.sqrt(len(shown)), 1e-6)
        kernel = (directions[: layer.units] / deviations[:, None]).T
        layer.set_weights([kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)])
    findings, classes = images.xray.targets, images.ct.targets
    share = (np.nansum(findings, axis=0) + 1) / (np.sum(~np.isnan(findings), axis=0) + 2)
    counts = np.bincount(classes[classes >= 0], minlength=len(network.experiment.labels.cancer_classes)) + 1
    for head, bias in (("disease", np.log(share / (1 - share))), ("cancer", np.log(counts / counts.sum()))):
        kernel, _ = network.model.get_layer(f"{head}_logits").get_weights()
        network.model.get_layer(f"{head}_logits").set_weights([kernel, bias.astype(np.float32)])
