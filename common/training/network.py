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
from fedthorax.common.model.backbone import all_layers, split_backbone
from fedthorax.common.model.dual import MODALITIES, build_model, pooled_to_logits
from fedthorax.common.model.segments import HEAD_SEGMENTS, SegmentLayout, Weights, segment_of, segments_of
from fedthorax.common.training.adam import Adam
from fedthorax.common.training.augmentation import augment
from fedthorax.common.training.encoders import as_in_inference, training_encoders
from fedthorax.common.training.losses import (
    LossSum,
    absent_classes,
    balancing,
    log_odds,
    masked_asymmetric_loss,
    masked_binary_cross_entropy,
    masked_sparse_cross_entropy,
)
from fedthorax.common.training.runtime import accelerators_here, prepare_tensorflow
from fedthorax.common.training.schedule import Scope, Trainable


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
        self._features: dict[tuple[str, int], Callable[[tf.Tensor], tf.Tensor]] = {}
        self._split: dict[tuple[str, int], tuple[keras.Model, keras.Model]] = {}
        tops = {(name, part.top) for phase in experiment.training.phases for name, part in phase.parts.items()}
        for name, top in sorted((name, top) for name, top in tops if top and name in self.modalities):
            self._split[name, top] = split_backbone(self.model.get_layer(f"{name}_backbone"), top)
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
        nothing = np.zeros(len(experiment.labels.cancer_classes), np.float32)
        self._absent_classes = tf.Variable(nothing, trainable=False) if loss.cancer == "own" else None

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

    def know_labels(self, labels: NDArray[np.float32], classes: NDArray[np.int32], at_home: bool = False) -> None:
        """``labels`` (N, findings) and ``classes`` (M,) are what the next steps are trained on; some losses go by how
        rare a finding is, and by which classes there are. A model that stays ``at_home`` takes no class away from
        others: it is to learn that those without a slice there do not occur."""
        if self._absent_classes is not None:
            absent = absent_classes(classes, self._absent_classes.shape[0])
            self._absent_classes.assign(np.zeros_like(absent) if at_home else absent)
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

    def trained_segments(self, trainable: Trainable, modalities: Sequence[str] | None = None) -> tuple[str, ...]:
        """The segments that change in a phase, and so the ones that a hospital sends back; of a network for other
        ``modalities`` than this one's where they are given."""
        modalities = self.modalities if modalities is None else modalities
        if trainable == "all":
            return segments_of(modalities)
        named = dict(trainable.factors) if isinstance(trainable, Scope) else HEAD_SEGMENTS
        fixed = self.experiment.model.projection == "fixed"
        return segments_of(
            modalities,
            [name for name in SEGMENTS if name in named and not (fixed and name.endswith(".projection"))],
        )

    def given(self, trainable: Trainable) -> dict[str, int | None]:
        """What a step is given of each modality: images for None, else features below so many of the last blocks."""
        if trainable == "all":
            return dict.fromkeys(self.modalities)
        trained, tops = self.trained_segments(trainable), dict(trainable.tops) if isinstance(trainable, Scope) else {}
        return {name: tops.get(name) if f"{name}.backbone" in trained else 0 for name in self.modalities}

    def losses(self, labels: dict[str, tf.Tensor], logits: dict[str, tf.Tensor]) -> tuple[LossSum, LossSum]:
        """Masked losses of both heads, as sums with their weights."""
        return (
            masked_binary_cross_entropy(labels["disease"], logits["disease"], self._positive_weights),
            masked_sparse_cross_entropy(labels["cancer"], logits["cancer"]),
        )

    def _training_losses(self, labels: dict[str, tf.Tensor], logits: dict[str, tf.Tensor]) -> tuple[LossSum, LossSum]:
        """``losses``, with those that ``training.loss`` names."""
        if self._absent_classes is not None:
            logits = {**logits, "cancer": logits["cancer"] + self._absent_classes}
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
        """One step of what is trained: from images where a backbone is, else from features.

        A batch of what is ``given`` for each modality (images in 0…255), with tokens what is present (N, 1) of X-ray
        and of CT, disease labels (N, findings), cancer labels (N,) → loss sums (4,).
        """
        if trainable not in self._steps:
            self._steps[trainable] = self._traced_step(trainable)
        return self._steps[trainable]

    def _traced_step(self, trainable: Trainable) -> Any:
        heads, given, trained = pooled_to_logits(self.model), self.given(trainable), self.trained_segments(trainable)
        precision = self.experiment.training.precision if accelerators_here() else "float32"
        alike: dict[int | None, list[int]] = {}  # places of the modalities that share one graph
        for place, top in enumerate(given.values()):
            alike.setdefault(top, []).append(place)
        encoders = {
            top: training_encoders([self.halves(self.modalities[place], top)[1] for place in places], precision)
            for top, places in alike.items()
            if top != 0
        }
        still = [layer for layer in self.model.layers if segment_of(layer.name) not in trained]

        def network(came: list[tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
            pooled = list(came)
            for top, encode in encoders.items():
                for place, features in zip(alike[top], encode([came[place] for place in alike[top]]), strict=True):
                    pooled[place] = features
            with as_in_inference(still if isinstance(trainable, Scope) else ()):
                logits: dict[str, tf.Tensor] = heads(pooled, training=training)
            return logits

        shapes = [self.feature_shape(name, top) for name, top in given.items()]
        return self._make_step(network, trainable, *(tf.TensorSpec((None, *shape), tf.float32) for shape in shapes))

    def halves(self, modality: str, top: int | None) -> tuple[keras.Model, keras.Model]:
        """What gives the features of a modality, and what is trained; without ``top`` both are the whole backbone."""
        whole = self.model.get_layer(f"{modality}_backbone")
        return self._split[modality, top] if top else (whole, whole)

    def features(self, modality: str, top: int = 0) -> Callable[[tf.Tensor], tf.Tensor]:
        """Images (N, S, S, 3) in 0…255 → pooled features (N, D), or those below the ``top`` last blocks, in inference
        mode."""
        if (modality, top) not in self._features:
            spec = tf.TensorSpec((None, *self.feature_shape(modality, None)), tf.float32)
            part, _ = self.halves(modality, top)
            traced = tf.function(lambda images: part(images, training=False), input_signature=[spec], autograph=False)
            self._features[modality, top] = traced
        return self._features[modality, top]

    def weights_below(self, modality: str, top: int) -> NDArray[np.float32]:
        """The weights that features below the ``top`` last blocks depend on; of pooled ones all of the backbone's."""
        segment = f"{modality}.backbone"
        (flat,) = self.layout.read([segment]).values()
        if not top:
            return flat
        return np.concatenate([flat[where] for where in self._below(modality, top)])

    def _below(self, modality: str, top: int) -> list[slice]:
        """Where in its backbone's segment what lies below the ``top`` last blocks is."""
        used = {variable.path for variable in self.halves(modality, top)[0].weights}
        slots = self.layout.slots[f"{modality}.backbone"]
        return [slice(slot.start, slot.stop) for slot in slots if slot.name in used]

    def frozen(self, trainable: Trainable) -> dict[str, list[slice]]:
        """What is not trained of the segments that are."""
        tops = trainable.tops if isinstance(trainable, Scope) else ()
        return {f"{name}.backbone": self._below(name, top) for name, top in tops}

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

    def feature_shape(self, modality: str, top: int | None) -> tuple[int, ...]:
        """Of one image what a step is given: itself for None, else its features below the ``top`` last blocks."""
        if top is None:
            return (self.experiment.model.image_size, self.experiment.model.image_size, 3)
        return tuple(self.halves(modality, top)[0].output.shape[1:])

    def pooled_width(self, modality: str) -> int:
        return self.feature_shape(modality, 0)[-1]

    def trainable_variables(self, trainable: Trainable) -> list[keras.Variable]:
        return [variable for variable, _ in self._trained(trainable)]

    def _trained(self, trainable: Trainable) -> list[tuple[keras.Variable, float]]:
        """The variables that are trained, and the factors of their learning rates."""
        found: list[tuple[keras.Variable, float]] = []
        factors = dict(trainable.factors) if isinstance(trainable, Scope) else {}
        for layer in self.model.layers:
            segment, part = segment_of(layer.name), layer
            if isinstance(trainable, Scope):
                if segment not in factors:
                    continue
                if segment.endswith(".backbone"):
                    modality = segment.partition(".")[0]
                    _, part = self.halves(modality, dict(trainable.tops).get(modality))
            elif trainable != "all" and (segment.endswith(".backbone") or not _belongs(layer, trainable)):
                continue
            found += [(variable, factors.get(segment, 1.0)) for variable in part.trainable_variables]
        return found

    def _optimizer(self, trainable: Trainable) -> Adam:
        if trainable not in self._optimizers:
            training, trained = self.experiment.training, self._trained(trainable)
            variables, factors = [variable for variable, _ in trained], [factor for _, factor in trained]
            self._optimizers[trainable] = Adam(
                variables,
                training.learning_rate,
                training.clip_norm,
                training.weight_decay,
                factors,
                training.warmup_steps,
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
        if changed and trainable not in ("outputs", "batch_norm"):  # these are trained for a hospital's own model alone
            self._local_steps[trainable] = changed(federation.strategy_settings, variables)
        local = self._local_steps.get(trainable)
        labels = [tf.TensorSpec((None, len(self.experiment.labels.findings))), tf.TensorSpec((None,), tf.int32)]

        compiled = True if self.experiment.training.jit_compile and accelerators_here() else None

        @tf.function(input_signature=[*inputs, *self._presence_specs, *labels], autograph=False, jit_compile=compiled)
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
