"""The network of this process, built and traced once, then reused over rounds and hospitals."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import LocalStep
from fedthorax.common.config import Experiment
from fedthorax.common.model import SEGMENTS
from fedthorax.common.model.backbone import all_layers
from fedthorax.common.model.dual import MODALITIES, build_model, pooled_to_logits
from fedthorax.common.model.segments import HEAD_SEGMENTS, SegmentLayout, Weights, segments_of
from fedthorax.common.training.adam import Adam
from fedthorax.common.training.augmentation import augment
from fedthorax.common.training.encoders import training_encoders
from fedthorax.common.training.losses import (
    LossSum,
    balancing,
    log_odds,
    masked_asymmetric_loss,
    masked_binary_cross_entropy,
    masked_sparse_cross_entropy,
)
from fedthorax.common.training.runtime import prepare_tensorflow

Trainable = str  # "heads" or "all", as in training.phases; or another part of personalisation.fine_tune


class Network:
    """Model, optimisers and traced functions of one experiment.

    Tracing the twin backbones takes tens of seconds, so there is one Network a process, whatever number of hospitals
    it serves; everything that belongs to one hospital's task (weights, optimiser, random state) is set anew by
    ``start``.
    """

    def __init__(self, experiment: Experiment, modalities: Sequence[str] = MODALITIES) -> None:
        """``modalities``: the encoders that are built; a hospital without CT needs no CT encoder."""
        prepare_tensorflow(experiment.training.threads)
        self.experiment = experiment
        self.modalities = tuple(modalities)
        self.tokens = experiment.model.absent == "token"
        self.model = build_model(experiment.model, experiment.labels, experiment.seed, self.modalities)
        self.layout = SegmentLayout(self.model)
        self._local_steps: dict[Trainable, LocalStep] = {}  # what the algorithm changes of them
        self._optimizers: dict[Trainable, Adam] = {}
        self._steps: dict[Trainable, Any] = {}
        # A dropout of rate 0 draws nothing and has no generator.
        self._dropouts = [
            layer for layer in all_layers(self.model) if isinstance(layer, keras.layers.Dropout) and layer.rate
        ]
        loss = experiment.training.loss
        self._positive_weights = tf.constant(
            [loss.positive_weights.get(finding, 1.0) for finding in experiment.labels.findings], tf.float32
        )
        # What a hospital's own labels make of its loss: see know_labels.
        alike = np.ones(len(experiment.labels.findings), np.float32)
        self._label_weights = (
            [tf.Variable(alike, trainable=False) for _ in range(2)] if loss.disease == "balanced" else []
        )
        self._log_odds = tf.Variable(0 * alike, trainable=False) if loss.disease == "adjusted" else None

    def start(
        self, trainable: Trainable, seed: int, keep_optimizer: bool = False, given: Weights | None = None
    ) -> None:
        """Begin a task: fresh optimiser state unless ``keep_optimizer``, dropout seeded from ``seed``, and ``given``,
        vectors laid out as segments, for the algorithm's local step.

        The step is traced before dropout is seeded: building its graph draws from the random generators, and the first
        task of a process would otherwise see other numbers than the same task later on.
        """
        self.step(trainable).get_concrete_function()
        if not keep_optimizer:
            self._optimizer(trainable).reset()
        if (local := self._local_steps.get(trainable)) is not None:
            values = self.layout.by_variable(given or {})
            local.begin([values.get(variable.path) for variable in local.variables])
        streams = np.random.SeedSequence(seed).generate_state(len(self._dropouts))
        for layer, stream in zip(self._dropouts, streams, strict=True):
            layer.seed_generator.state.assign([int(stream), 0])

    def know_labels(self, labels: NDArray[np.float32]) -> None:
        """``labels`` (N, findings) are what the next steps are trained on; some losses go by how rare a finding is."""
        for variable, values in zip(self._label_weights, balancing(labels), strict=False):
            variable.assign(values)
        if self._log_odds is not None:
            self._log_odds.assign(log_odds(labels))

    def set_learning_rate(self, trainable: Trainable, rate: float) -> None:
        self._optimizer(trainable).learning_rate.assign(rate)

    def gathered(self, trainable: Trainable, steps: int) -> dict[str, NDArray[np.float32]]:
        """What the algorithm's local step has gathered in the ``steps`` since ``start``, laid out as segments."""
        local = self._local_steps.get(trainable)
        if local is None or not (values := local.gathered(steps)):
            return {}
        by_path = {variable.path: each for variable, each in zip(local.variables, values, strict=True)}
        return self.layout.vectors(by_path, self.trained_segments(trainable))

    def save(self, path: Path) -> None:
        """The model as Keras opens it; a file that is there is replaced as a whole."""
        temporary = path.with_name(f"{path.stem}.part.keras")  # Keras wants this ending
        self.model.save(temporary)
        temporary.replace(path)

    def trained_segments(self, trainable: Trainable) -> tuple[str, ...]:
        """The segments that change in a phase, and so the ones that a hospital sends back."""
        fixed = trainable != "all" and self.experiment.model.projection == "fixed"
        trained = [name for name in HEAD_SEGMENTS if not (fixed and name.endswith(".projection"))]
        return segments_of(self.modalities, SEGMENTS if trainable == "all" else trained)

    def losses(self, labels: dict[str, tf.Tensor], logits: dict[str, tf.Tensor]) -> tuple[LossSum, LossSum]:
        """Masked losses of both heads, as sums with their weights."""
        smoothing = self.experiment.training.loss.label_smoothing
        return (
            masked_binary_cross_entropy(labels["disease"], logits["disease"], self._positive_weights),
            masked_sparse_cross_entropy(labels["cancer"], logits["cancer"], smoothing),
        )

    def _training_losses(self, labels: dict[str, tf.Tensor], logits: dict[str, tf.Tensor]) -> tuple[LossSum, LossSum]:
        """``losses``, with that of the findings as ``training.loss.disease`` says."""
        disease, cancer = self.losses(labels, logits)
        truth, given, heavier = labels["disease"], logits["disease"], self._positive_weights
        if self.experiment.training.loss.disease == "asymmetric":
            disease = masked_asymmetric_loss(truth, given, heavier)
        elif self._label_weights:
            weight, of_present = self._label_weights
            disease = masked_binary_cross_entropy(truth, given, heavier * of_present, tf.convert_to_tensor(weight))
        elif self._log_odds is not None:
            disease = masked_binary_cross_entropy(truth, given + self._log_odds, heavier)
        return disease, cancer

    def step(self, trainable: Trainable) -> Any:
        """One step of what is trained: on images for all of the network, else on pooled features."""
        if trainable == "all":
            return self.step_on_images
        return self.step_on_pooled if trainable == "heads" else self._step_on_part(trainable)

    def _step_on_part(self, trainable: Trainable) -> Any:
        if trainable not in self._steps:
            specs = [tf.TensorSpec((None, self.pooled_width(name)), tf.float32) for name in self.modalities]
            self._steps[trainable] = self._make_step(pooled_to_logits(self.model), trainable, *specs)
        return self._steps[trainable]

    @cached_property
    def step_on_images(self) -> Any:
        """One step of the whole network.

        An image batch (N, S, S, 3) in 0…255 for each modality, with tokens what is present (N, 1) of X-ray and of CT,
        disease labels (N, findings), cancer labels (N,) → loss sums (4,).
        """
        size = self.experiment.model.image_size
        images = tf.TensorSpec((None, size, size, 3), tf.float32)
        encode, heads, number = training_encoders(self.model), pooled_to_logits(self.model), len(self.modalities)

        def network(given: list[tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
            logits: dict[str, tf.Tensor] = heads([*encode(given[:number]), *given[number:]], training=training)
            return logits

        return self._make_step(network, "all", *[images] * number)

    @cached_property
    def step_on_pooled(self) -> Any:
        """One step of everything after the backbones, from two batches of pooled features (N, D)."""
        specs = [tf.TensorSpec((None, self.pooled_width(name)), tf.float32) for name in self.modalities]
        return self._make_step(pooled_to_logits(self.model), "heads", *specs)

    @cached_property
    def pooled(self) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
        """For each modality: images (N, S, S, 3) in 0…255 → pooled features (N, D), in inference mode."""
        size = self.experiment.model.image_size
        spec = tf.TensorSpec((None, size, size, 3), tf.float32)

        def traced(backbone: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
            return tf.function(lambda images: backbone(images, training=False), input_signature=[spec])

        return {name: traced(self.model.get_layer(f"{name}_backbone")) for name in self.modalities}

    @cached_property
    def logits_of_pooled(self) -> Callable[..., dict[str, tf.Tensor]]:
        """A batch of pooled features (N, D) for each modality, with tokens what is present (N, 1) → logits of both
        heads, in inference mode."""
        heads = pooled_to_logits(self.model)
        specs = [tf.TensorSpec((None, self.pooled_width(name)), tf.float32) for name in self.modalities]
        specs += self._presence_specs
        return tf.function(lambda *inputs: heads(list(inputs), training=False), input_signature=specs)

    @cached_property
    def augmented(self) -> Callable[..., list[tf.Tensor]]:
        """Two int32 numbers that stand for the randomness, and a batch (N, S, S, 3) of uint8 for each modality → the
        same images as float32 in 0…255, changed as ``training.augmentation`` says."""
        size, config = self.experiment.model.image_size, self.experiment.training.augmentation
        images = [tf.TensorSpec((None, size, size, 3), tf.uint8)] * len(self.modalities)

        @tf.function(input_signature=[tf.TensorSpec((2,), tf.int32), *images], autograph=False)
        def augmented(chosen: tf.Tensor, *pictures: tf.Tensor) -> list[tf.Tensor]:
            changed = [tf.cast(part, tf.float32) for part in pictures]
            if not config.enabled:
                return changed
            seed, number = chosen[0], chosen[1]
            streams = {"xray": tf.stack([seed, 2 * number]), "ct": tf.stack([seed, 2 * number + 1])}
            return [
                augment(part, config, streams[name], may_flip=name == "ct")
                for name, part in zip(self.modalities, changed, strict=True)
            ]

        return augmented

    @property
    def _presence_specs(self) -> list[tf.TensorSpec]:
        return [tf.TensorSpec((None, 1), tf.float32) for _ in MODALITIES] if self.tokens else []

    def pooled_width(self, modality: str) -> int:
        return int(self.model.get_layer(f"{modality}_backbone").output.shape[-1])

    def trainable_variables(self, trainable: Trainable) -> list[keras.Variable]:
        backbones = {f"{name}_backbone" for name in MODALITIES}
        return [
            variable
            for layer in self.model.layers
            for variable in layer.trainable_variables
            if trainable == "all" or (layer.name not in backbones and _belongs(layer, trainable))
        ]

    def _optimizer(self, trainable: Trainable) -> Adam:
        if trainable not in self._optimizers:
            training, variables = self.experiment.training, self.trainable_variables(trainable)
            self._optimizers[trainable] = Adam(
                variables, training.learning_rate, training.clip_norm, training.weight_decay
            )
        return self._optimizers[trainable]

    def _make_step(
        self, network: Callable[..., dict[str, tf.Tensor]], trainable: Trainable, *inputs: tf.TensorSpec
    ) -> Any:
        variables = self.trainable_variables(trainable)
        optimizer = self._optimizer(trainable)
        weights = self.experiment.training.loss
        learns = trainable != "outputs"  # else dropout and normalisation stay as they are in use
        federation = self.experiment.federation
        changed = algorithm_of(federation.strategy).hospital.step
        if changed and trainable in ("heads", "all"):  # the other parts are trained for a hospital's own model alone
            self._local_steps[trainable] = changed(federation.strategy_settings, variables)
        local = self._local_steps.get(trainable)
        labels = [tf.TensorSpec((None, len(self.experiment.labels.findings))), tf.TensorSpec((None,), tf.int32)]

        @tf.function(input_signature=[*inputs, *self._presence_specs, *labels], autograph=False)
        def step(*parts: tf.Tensor) -> tf.Tensor:
            *given, disease, cancer = parts
            with tf.GradientTape() as tape:
                logits = network(given, training=learns)
                disease_loss, cancer_loss = self._training_losses({"disease": disease, "cancer": cancer}, logits)
                loss = weights.disease_weight * disease_loss.mean() + weights.cancer_weight * cancer_loss.mean()
            gradients = tape.gradient(loss, variables)
            optimizer.apply(gradients if local is None else local.change(gradients))
            return tf.stack([*disease_loss, *cancer_loss])

        return step


def _belongs(layer: keras.layers.Layer, trainable: Trainable) -> bool:
    """Whether a layer after the backbones is one of what is trained."""
    if trainable == "batch_norm":
        return isinstance(layer, keras.layers.BatchNormalization)
    return trainable == "heads" or layer.name in ("disease_logits", "cancer_logits")
