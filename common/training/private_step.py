"""A step that is private for each patient: the sum of the patients' gradients, each cut to a length, on a grid.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016. A patient's gradient is never written down: its norm
comes from what goes into a dense layer and what comes back (Goodfellow, arXiv 1510.01799; Li et al., ICLR 2022), and
the sum of the cut ones is one product a layer. All of it in float64: what another patient in the batch changes of one's
own gradient by rounding is then far below the grid.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.model.dual import HEADS, MODALITIES, fusion_layers, projection_layers
from fedthorax.common.model.segments import TOKEN, Slot
from fedthorax.common.pairing import ABSENT
from fedthorax.common.records.records import UNKNOWN_CLASS
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.losses import cells_binary, rows_categorical
from fedthorax.common.training.network import Network

Fault = Literal["none", "no noise", "no clipping"]  # planted by tests alone, to see an audit find it
_FINE = 2.0**-10  # of the clip: what rounding to the grid can add to a patient's part


@dataclass(frozen=True)
class Patients:
    """Training patients: by ``name``, in this order, rows of ``values`` (images, width) and labels of each modality."""

    names: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[int, ...], ...]]
    values: Mapping[str, NDArray[np.float64]]
    disease: NDArray[np.float64]
    cancer: NDArray[np.int32]

    def only(self, kept: Sequence[int]) -> "Patients":
        """Some of them."""
        rows = {side: tuple(of[place] for place in kept) for side, of in self.rows.items()}
        return Patients(tuple(self.names[place] for place in kept), rows, self.values, self.disease, self.cancer)


@dataclass(frozen=True)
class PatientBatch:
    """``xray`` and ``ct`` (P, K): rows of the images of P patients; K is the most that one of them has here."""

    xray: NDArray[np.int64]
    ct: NDArray[np.int64]


class PrivateHeads:
    """The heads of a network, with gradients by patient. ``size`` values are trained."""

    def __init__(self, network: Network, clip: float, fault: Fault = "none") -> None:
        self.network, self.clip, self.fault = network, clip, fault
        trained = {variable.path for variable in network.trainable_variables("heads")}
        self.places: list[tuple[str, Slot]] = [
            (segment, slot) for segment, slots in network.layout.slots.items() for slot in slots if slot.name in trained
        ]
        self.size = sum(slot.stop - slot.start for _, slot in self.places)
        self.grid: float = 2.0 ** math.floor(math.log2(_FINE * clip / math.sqrt(self.size)))
        self.most = clip * (1 + 2 * _FINE)  # what a patient can change of the sum on the grid
        self._names = {slot.name: number for number, (_, slot) in enumerate(self.places)}
        fixed = network.experiment.model.projection == "fixed"
        self._inner = {side: [] if fixed else projection_layers(network.model, side) for side in MODALITIES}
        self._traced = tf.function(self._clipped_sum, input_signature=self._signature(fixed), autograph=False)

    def patients(self, store: FeatureStore, train: SplitImages) -> Patients:
        """Those of a split. ValueError where an image names no patient: then nobody's privacy could be counted."""
        held: dict[str, dict[str, list[int]]] = {}
        for side in MODALITIES:
            images = train.of(side)
            if not all(images.named):
                raise ValueError("privacy is for patients, but some of its training images name none")
            for row, name in enumerate(images.patients):
                held.setdefault(name, {each: [] for each in MODALITIES})[side].append(row)
        names = tuple(sorted(held))
        return Patients(
            names,
            {side: tuple(tuple(held[name][side]) for name in names) for side in MODALITIES},
            {side: self._values(side, store.pooled(side, train.of(side), keep=True)) for side in MODALITIES},
            train.xray.targets.astype(np.float64),
            train.ct.targets.astype(np.int32),
        )

    def _values(self, side: str, pooled: NDArray[np.float32]) -> NDArray[np.float64]:
        """Pooled features; under a fixed projection what it makes of them."""
        values = np.asarray(pooled, np.float64)
        if self.network.experiment.model.projection == "fixed":
            kernel, bias = self.network.model.get_layer(f"{side}_features").get_weights()
            values = values @ kernel.astype(np.float64) + bias
        return values

    def drawn(self, patients: Patients, chosen: Sequence[int], most: int, random: np.random.Generator) -> PatientBatch:
        """At most ``most`` images of each patient: X-rays and slices of his own in pairs, as far as both go."""
        rows: dict[str, list[list[int]]] = {side: [] for side in MODALITIES}
        for place in chosen:
            own = [(side, row) for side in MODALITIES for row in patients.rows[side][place]]
            picked = [own[at] for at in random.permutation(len(own))[:most]]
            for side in MODALITIES:
                rows[side].append([row for which, row in picked if which == side])
        widest = max((len(own) for of in rows.values() for own in of), default=1)
        filled = {side: [own + [ABSENT] * (widest - len(own)) for own in of] for side, of in rows.items()}
        return PatientBatch(*(np.array(filled[side], np.int64).reshape(len(chosen), widest) for side in MODALITIES))

    def clipped_sum(self, weights: Sequence[NDArray[Any]], patients: Patients, batch: PatientBatch) -> Any:
        """The sum over patients of their gradients, each at most ``clip`` long, as one vector (size,) in the order of
        ``places``. ``weights`` are those values, each in its shape."""
        rows = {"xray": batch.xray, "ct": batch.ct}
        given = [_taken(patients.values[side], of) for side, of in rows.items()]
        present = [(of != ABSENT)[..., None].astype(np.float64) for of in rows.values()]
        disease = np.where(batch.xray[..., None] == ABSENT, np.nan, _taken(patients.disease, batch.xray))
        cancer = np.where(batch.ct == ABSENT, UNKNOWN_CLASS, _taken(patients.cancer, batch.ct)).astype(np.int32)
        return self._traced(list(weights), *given, *present, disease, cancer).numpy()

    def _signature(self, fixed: bool) -> list[Any]:
        model, findings = self.network.experiment.model, len(self.network.experiment.labels.findings)
        widths = [model.feature_units if fixed else self.network.pooled_width(side) for side in MODALITIES]
        shapes = [slot.shape for _, slot in self.places]
        return [
            [tf.TensorSpec(shape, tf.float64) for shape in shapes],
            *(tf.TensorSpec((None, None, width), tf.float64) for width in (*widths, 1, 1, findings)),
            tf.TensorSpec((None, None), tf.int32),
        ]

    def _clipped_sum(self, weights: list[tf.Tensor], *inputs: tf.Tensor) -> tf.Tensor:
        xray, ct, xray_present, ct_present, disease, cancer = inputs
        fusion = fusion_layers(self.network.model)
        seen: list[tuple[str, tf.Tensor, tf.Tensor]] = []  # layer, what goes in, what comes out before activation
        with tf.GradientTape() as tape:

            def through(layer: Any, values: tf.Tensor) -> tf.Tensor:
                """``layer`` on (P, K, …) with the weights that were given; what is trained of it is ``seen``."""
                return self._through(layer, values, weights, seen, tape)

            features = []
            for side, values, present in (("xray", xray, xray_present), ("ct", ct, ct_present)):
                for layer in self._inner[side]:
                    values = through(layer, values)
                features.append(values * present)
                if fusion:  # else a token stays 0
                    features[-1] += through(self.network.model.get_layer(f"fusion_{side}{TOKEN}"), 1 - present)
            ends = dict(zip(HEADS, features, strict=True))
            if fusion:
                fused = tf.concat(features, axis=-1)
                for layer in fusion:
                    fused = through(layer, fused)
                ends = dict.fromkeys(HEADS, fused)
            logits = {head: through(self.network.model.get_layer(f"{head}_logits"), ends[head]) for head in HEADS}
            loss = tf.reduce_sum(self._losses(logits, disease, cancer))
        back = tape.gradient(loss, [out for _, _, out in seen], unconnected_gradients=tf.UnconnectedGradients.ZERO)
        squares = tf.add_n(
            [self._squares(name, into, delta) for (name, into, _), delta in zip(seen, back, strict=True)]
        )
        factor = tf.ones_like(squares)
        if self.fault != "no clipping":
            factor = self.clip / tf.maximum(tf.sqrt(squares), self.clip)
        summed: dict[int, tf.Tensor] = {}
        for (name, into, _), delta in zip(seen, back, strict=True):
            cut = delta * factor[:, None, None]
            if f"{name}/kernel" in self._names:
                summed[self._names[f"{name}/kernel"]] = tf.einsum("pki,pko->io", into, cut)
            if f"{name}/gamma" in self._names:
                summed[self._names[f"{name}/gamma"]] = tf.reduce_sum(into * cut, axis=(0, 1))
            for shift in (f"{name}/bias", f"{name}/beta"):
                if shift in self._names:
                    summed[self._names[shift]] = tf.reduce_sum(cut, axis=(0, 1))
        return tf.concat([tf.reshape(summed[number], [-1]) for number in range(len(self.places))], axis=0)

    def _through(
        self,
        layer: Any,
        values: tf.Tensor,
        weights: list[tf.Tensor],
        seen: list[tuple[str, tf.Tensor, tf.Tensor]],
        tape: tf.GradientTape,
    ) -> tf.Tensor:
        def given(part: str) -> tf.Tensor:
            return weights[self._names[f"{layer.name}/{part}"]]

        if hasattr(layer, "rate"):  # dropout, which a private step does not have
            return values
        if hasattr(layer, "gamma"):
            mean, variance = tf.nn.moments(values, axes=-1, keepdims=True)
            into = (values - mean) / tf.sqrt(variance + layer.epsilon)
            out = into * given("gamma") + given("beta")
        else:
            into = values
            out = values @ given("kernel")
            if f"{layer.name}/bias" in self._names:
                out += given("bias")
        tape.watch(out)
        seen.append((layer.name, into, out))
        return tf.nn.relu(out) if getattr(layer, "activation", None) is keras.activations.relu else out

    def _losses(self, logits: Mapping[str, tf.Tensor], disease: tf.Tensor, cancer: tf.Tensor) -> tf.Tensor:
        """Of each patient (P,): means over his own known labels."""
        loss = self.network.experiment.training.loss
        weights = [loss.positive_weights.get(name, 1.0) for name in self.network.experiment.labels.findings]
        cells, known = cells_binary(disease, logits["disease"], tf.constant(weights, tf.float64))
        rows, classes = rows_categorical(cancer, logits["cancer"])
        of_disease = tf.math.divide_no_nan(tf.reduce_sum(cells, axis=(1, 2)), tf.reduce_sum(known, axis=(1, 2)))
        of_cancer = tf.math.divide_no_nan(tf.reduce_sum(rows, axis=1), tf.reduce_sum(classes, axis=1))
        return loss.disease_weight * of_disease + loss.cancer_weight * of_cancer

    def _squares(self, name: str, into: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        """The squared norm (P,) of each patient's gradient of a layer's values."""
        if f"{name}/gamma" in self._names:
            parts = tf.reduce_sum(into * delta, axis=1), tf.reduce_sum(delta, axis=1)
            return tf.add_n([tf.reduce_sum(tf.square(part), axis=-1) for part in parts])
        alike = tf.matmul(into, into, transpose_b=True)
        if f"{name}/bias" in self._names:
            alike += 1
        return tf.reduce_sum(alike * tf.matmul(delta, delta, transpose_b=True), axis=(1, 2))


def _taken(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """``values[rows]``; 0 where there is no image."""
    if not len(values):
        return np.zeros((*rows.shape, *values.shape[1:]), values.dtype)
    taken = values[np.maximum(rows, 0)]
    taken[rows == ABSENT] = 0
    return taken
