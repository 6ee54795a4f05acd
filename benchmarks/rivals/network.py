"""The twin EfficientNet-B0 in plain Keras, and the images of one hospital as arrays."""

import os
from pathlib import Path

import numpy as np
from tensorflow import keras

SIZE = int(os.environ.get("ROUND_IMAGE_SIZE", "224"))
BACKBONE = getattr(keras.applications, os.environ.get("ROUND_BACKBONE", "EfficientNetB0"))
FINDINGS, CLASSES = 14, 4


class Network(keras.Model):
    """Takes [X-rays, CT slices] of (N, SIZE, SIZE, 3), values 0-255."""

    def __init__(self) -> None:
        inputs, features = [], []
        for name in ("xray", "ct"):
            image = keras.Input((SIZE, SIZE, 3), name=name)
            backbone = BACKBONE(
                include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg", name=f"{name}_backbone"
            )
            hidden = keras.layers.Dense(1024, activation="relu", name=f"{name}_dense")(backbone(image))
            hidden = keras.layers.BatchNormalization(name=f"{name}_norm")(hidden)
            hidden = keras.layers.Dropout(0.3, name=f"{name}_dropout")(hidden)
            features.append(keras.layers.Dense(512, activation="relu", name=f"{name}_features")(hidden))
            inputs.append(image)
        fused = keras.layers.Concatenate(name="fusion")(features)
        for units in (1024, 512):
            fused = keras.layers.Dense(units, activation="relu", name=f"fusion_{units}")(fused)
        disease = keras.layers.Dense(FINDINGS, activation="sigmoid", name="disease")(fused)
        cancer = keras.layers.Dense(CLASSES, activation="softmax", name="cancer")(fused)
        super().__init__(inputs, [disease, cancer], name="network")


def compiled() -> Network:
    network = Network()
    network.compile(
        optimizer=keras.optimizers.Adam(1e-4), loss=["binary_crossentropy", "sparse_categorical_crossentropy"]
    )
    return network


def tell(*words: object) -> None:
    """A line for the benchmark. Not on standard output, which Flower and NVFlare keep, colour or cut."""
    with Path(os.environ["ROUND_TOLD"]).open("a", encoding="utf-8") as file:
        file.write(" ".join(map(str, words)) + "\n")


def hospital(number: int) -> tuple[tuple[list, list], tuple[list, list]]:
    """(inputs, targets) to train on and to score, as ``Model.fit`` takes them."""
    with np.load(Path(os.environ["ROUND_DATA"]) / f"hospital-{number}.npz") as arrays:
        return tuple(  # type: ignore[return-value]
            ([arrays[f"{part}_xray"], arrays[f"{part}_ct"]], [arrays[f"{part}_findings"], arrays[f"{part}_classes"]])
            for part in ("train", "valid")
        )
