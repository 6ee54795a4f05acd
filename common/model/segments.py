"""The network's weights as a few named flat arrays: what travels, what is averaged, what is checkpointed.

A *branch* (``xray``, ``ct``, ``fusion``, ``disease``, ``cancer``) is what the design speaks of. A *segment* is the unit
of transport: the two encoder branches fall into ``….backbone`` and ``….projection``, because a phase that trains only
what comes after the backbones has no backbone to send.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.model import SEGMENTS
from fedthorax.common.model.backbone import all_layers

MODALITIES = ("xray", "ct")
BACKBONE_SEGMENTS = ("xray.backbone", "ct.backbone")
TOKEN = "_token"  # ends the name of a layer that stands for an absent modality
SMALL_ARRAY = 256  # values
HEAD_SEGMENTS = tuple(segment for segment in SEGMENTS if segment not in BACKBONE_SEGMENTS)

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Slot:
    """Where one variable lies in its segment."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SegmentLayout:
    """Reads and writes a model's weights as segments: float32 vectors, one a segment.

    Holds every floating-point weight, moving statistics included. Integer weights (a Normalization layer's counter) and
    the state of random generators are not weights of the network and stay out.
    """

    def __init__(self, model: keras.Model) -> None:
        self._variables: dict[str, list[keras.Variable]] = {segment: [] for segment in SEGMENTS}
        self.slots: dict[str, tuple[Slot, ...]] = {}
        # The place of a token in Keras's own order depends on which encoders the network has.
        tokens = sorted((layer for layer in model.layers if layer.name.endswith(TOKEN)), key=lambda layer: layer.name)
        for layer in [*(layer for layer in model.layers if layer not in tokens), *tokens]:
            for variable in layer.weights:
                if keras.backend.is_float_dtype(variable.dtype):
                    self._variables[segment_of(layer.name)].append(variable)
        for segment, variables in self._variables.items():
            start = 0
            slots = []
            for variable in variables:
                size = int(np.prod(variable.shape))
                slots.append(Slot(variable.path, tuple(variable.shape), start, start + size))
                start += size
            self.slots[segment] = tuple(slots)
        learning = [
            layer
            for layer in all_layers(model)
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._batch_norm = {variable.path for layer in learning for variable in layer.weights}
        self._finalizing = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Normalization)]
        self.sizes = {segment: (slots[-1].stop if slots else 0) for segment, slots in self.slots.items()}

    @property
    def digest(self) -> str:
        """Equal on two machines exactly when their networks have the same variables in the same order."""
        return self.digest_of(SEGMENTS)

    def digest_of(self, segments: Iterable[str]) -> str:
        """The same for some segments: all that a hospital without one of the modalities can compare."""
        chosen = set(segments)
        text = repr([(name, slot.shape) for name, slots in self.slots.items() if name in chosen for slot in slots])
        return hashlib.sha256(text.encode()).hexdigest()

    def read(self, segments: Iterable[str] = SEGMENTS) -> dict[str, NDArray[np.float32]]:
        """A copy of the model's weights.

        Here and in ``write`` the bare operations: what Keras and TensorFlow do around them takes two to three times
        as long for an EfficientNet's hundreds of small variables.
        """
        weights = {}
        for segment in segments:
            flat = np.empty(self.sizes[segment], np.float32)
            for slot, variable in zip(self.slots[segment], self._variables[segment], strict=True):
                value = tf.raw_ops.ReadVariableOp(resource=variable.value.handle, dtype=tf.float32)
                flat[slot.start : slot.stop] = np.asarray(memoryview(value)).reshape(-1)  # numpy() would copy it first
            weights[segment] = flat
        return weights

    def write(self, weights: Weights) -> None:
        """Set the model's weights; segments that are not given stay as they are. Raises ValueError on a wrong size."""
        self.check_sizes(weights)
        for segment, flat in weights.items():
            for slot, variable in zip(self.slots[segment], self._variables[segment], strict=True):
                value = tf.constant(flat[slot.start : slot.stop].reshape(slot.shape), tf.float32)
                tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=value)
        for layer in self._finalizing:
            layer.finalize_state()  # it keeps plain tensors made from its weights

    def by_variable(self, vectors: Weights) -> dict[str, NDArray[np.float32]]:
        """The parts of vectors that are laid out as segments, by the path of the variable, in its shape."""
        return {
            slot.name: vectors[segment][slot.start : slot.stop].reshape(slot.shape)
            for segment in vectors
            for slot in self.slots[segment]
        }

    def vectors(self, values: Mapping[str, NDArray[np.float32]], segments: Iterable[str]) -> dict[str, Any]:
        """The other way round; 0 for variables that ``values`` does not have."""
        found = {segment: np.zeros(self.sizes[segment], np.float32) for segment in segments}
        for segment, flat in found.items():
            for slot in self.slots[segment]:
                if slot.name in values:
                    flat[slot.start : slot.stop] = values[slot.name].reshape(-1)
        return found

    def check_sizes(self, weights: Weights) -> None:
        """Raise ValueError when a segment is unknown or has another number of values than this model's."""
        for segment, flat in weights.items():
            if segment not in self.sizes:
                raise ValueError(f"unknown segment {segment!r}; this model has {', '.join(SEGMENTS)}")
            if flat.shape != (self.sizes[segment],):
                raise ValueError(
                    f"segment {segment}: expected {self.sizes[segment]} values of a model like this one, "
                    f"got an array of shape {flat.shape}"
                )

    def statistics(self, segment: str) -> tuple[slice, ...]:
        """Where the moving statistics of batch normalisation lie in a segment: measured, not learned by gradients."""
        endings = ("moving_mean", "moving_variance")
        return tuple(slice(s.start, s.stop) for s in self.slots[segment] if s.name.endswith(endings))

    def exact(self, segment: str) -> tuple[tuple[int, int], ...]:
        """Runs (start, stop) of a segment that are never rounded on the way: vectors (statistics, scales and shifts of
        batch normalisation, biases, tokens) and other small arrays, which are few values and sensitive ones."""
        runs: list[tuple[int, int]] = []
        for slot in self.slots[segment]:
            if len(slot.shape) <= 1 or slot.stop - slot.start <= SMALL_ARRAY:
                start = runs.pop()[0] if runs and runs[-1][1] == slot.start else slot.start
                runs.append((start, slot.stop))
        return tuple(runs)

    def batch_norm(self, segment: str) -> tuple[slice, ...]:
        """Where batch normalisation that is not frozen lies in a segment: scales, shifts and moving statistics."""
        return tuple(slice(s.start, s.stop) for s in self.slots[segment] if s.name in self._batch_norm)

    def name_at(self, segment: str, index: int) -> str:
        """The variable that holds position ``index`` of a segment."""
        return next(slot.name for slot in self.slots[segment] if slot.start <= index < slot.stop)


def segments_of(modalities: Iterable[str], segments: Iterable[str] = SEGMENTS) -> tuple[str, ...]:
    """Of ``segments`` those that a network for these modalities has: an encoder each, fusion and heads always."""
    present = set(modalities)
    return tuple(name for name in segments if "." not in name or name.partition(".")[0] in present)


def segment_of(layer_name: str) -> str:
    """The segment that the weights of a layer of the whole network lie in."""
    branch, _, part = layer_name.partition("_")
    if branch in ("xray", "ct"):
        return f"{branch}.backbone" if part == "backbone" else f"{branch}.projection"
    return branch


def segment_sha256(values: NDArray[np.float32]) -> str:
    """SHA-256 of one segment's bytes: it names these numbers, whichever model they stand in."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def weights_digest(weights: Weights) -> str:
    """SHA-256 over the names and bytes of the segments, in the order of SEGMENTS."""
    digest = hashlib.sha256()
    for segment in SEGMENTS:
        if segment in weights:
            digest.update(segment.encode())
            digest.update(np.ascontiguousarray(weights[segment]).data)
    return digest.hexdigest()
