"""Where in the two pictures the evidence for an answer lies: Grad-CAM of each modality and label.

Selvaraju et al., Grad-CAM, ICCV 2017. The backbones end in global average pooling, so the mean gradient of a logit over
a feature map is its gradient by the pooled feature, and no image is differentiated. The maps show what this network
used, not what a disease looks like; how coarse they are is the size of the last feature maps (7 by 7 at 224 pixels).
Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, is what the test does: other weights, other maps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

from fedthorax.common.model.dual import MODALITIES, pooled_to_logits

_HEADS = {"xray": "disease", "ct": "cancer"}
_MIN_SIDE, _LINE = 448, 14  # pixels
_EVEN = 0.75  # of the largest value: a map that nowhere falls below shows the whole picture in one red
_STRENGTH = 0.55  # of the colour where the evidence is greatest


class GradCam:
    """Maps of one model; built once, used for any number of pairs."""

    def __init__(self, model: keras.Model) -> None:
        self._maps = {name: _feature_maps(model, name) for name in MODALITIES}
        self._heads = pooled_to_logits(model)

    def maps(self, images: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """One pair, each (S, S, 3), → ``xray`` (findings, h, w) and ``ct`` (classes, h, w); of a model with tokens also
        one image alone.

        Each map is divided by its largest value; it is all 0 where nothing in the picture speaks for the label.
        """
        features = {name: self._maps[name](picture[None].astype(np.float32)) for name, picture in images.items()}
        pooled = [
            tf.reduce_mean(features[name], axis=(1, 2)) if name in features else tf.zeros((1, place.shape[1]))
            for name, place in zip(MODALITIES, self._heads.inputs, strict=False)
        ]
        if len(self._heads.inputs) > len(pooled):  # with tokens: which images are there
            pooled += [tf.constant([[float(name in images)]]) for name in MODALITIES]
        found = {}
        for position, name in enumerate(MODALITIES):
            if name not in images:
                continue
            labels = self._heads.output[_HEADS[name]].shape[1]
            rows = [tf.repeat(given, labels, axis=0) for given in pooled]  # one a label, so that one pass gives all
            with tf.GradientTape() as tape:
                tape.watch(rows[position])
                logits = self._heads(rows, training=False)[_HEADS[name]]
                own = tf.linalg.trace(logits)
            slopes = tape.gradient(own, rows[position])  # (labels, D)
            heat = np.maximum(np.einsum("hwd,ld->lhw", features[name][0].numpy(), slopes.numpy()), 0)
            largest = heat.max(axis=(1, 2), keepdims=True)
            found[name] = np.divide(heat, largest, out=np.zeros_like(heat), where=largest > 0).astype(np.float32)
        return found


def _feature_maps(model: keras.Model, modality: str) -> keras.Model:
    """Images (N, S, S, 3) in 0…255 → the last feature maps (N, h, w, D), before they are pooled."""
    backbone = model.get_layer(f"{modality}_backbone")
    network = backbone.get_layer(f"{modality}_backbone_network")
    images = keras.Input(backbone.input.shape[1:])
    prepared = images
    for operation in backbone.operations:
        if operation is network:
            break
        if not isinstance(operation, keras.layers.InputLayer):
            prepared = operation(prepared)
    before_pooling = keras.Model(network.inputs, network.layers[-1].input)
    return keras.Model(images, before_pooling(prepared), name=f"{modality}_feature_maps")


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    """The picture as the model saw it, (S, S, 3), in grey, with the map (h, w) in red over it."""
    side = max(_MIN_SIDE, image.shape[0])
    grey = Image.fromarray(image).convert("L").resize((side, side), Image.Resampling.BICUBIC)
    share = Image.fromarray((255 * heat).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    weight = np.asarray(share, np.float32)[..., None] / 255 * _STRENGTH
    base = np.repeat(np.asarray(grey, np.float32)[..., None], 3, axis=2)
    mixed = base * (1 - weight) + np.array([255, 40, 0], np.float32) * weight
    return Image.fromarray(mixed.round().astype(np.uint8))


def map_words(heat: NDArray[np.float32]) -> list[str]:
    """What must be said of a map (h, w) that tells no place; nothing of another one."""
    if not heat.any():
        return ["Nothing in the picture speaks for it."]
    return ["No place stands out: the map is nearly even."] if heat.min() >= _EVEN * heat.max() else []


def save_overlay(path: Path, picture: Image.Image, lines: Sequence[str]) -> None:
    """A PNG with lines below the picture, which also stand in the file's own text."""
    canvas = Image.new("RGB", (picture.width, picture.height + 6 + _LINE * len(lines)), "white")
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        text = line.encode("latin-1", "replace").decode("latin-1")  # what Pillow's built-in font can draw
        draw.text((6, picture.height + 3 + _LINE * number), text, fill="black")
    facts = PngImagePlugin.PngInfo()
    facts.add_itxt("Description", " ".join(lines))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, pnginfo=facts)
