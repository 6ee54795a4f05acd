"""Local training: some epochs over randomly paired images, the same for a hospital and a centralised run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.data.images import SplitImages
from fedthorax.common.data.pairing import Pairs, training_pairs
from fedthorax.common.model.segments import Weights
from fedthorax.common.seeds import derive_seed
from fedthorax.common.training.augmentation import augment
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network, batches
from fedthorax.common.training.scoring import mean_losses, predict

# (stage, done, total, epoch, loss): a stage of work, its progress, and the mean loss of the epoch so far.
FitProgress = Callable[[str, int, int, int, float | None], None]


@dataclass(frozen=True)
class FitReport:
    """What training did. Losses are means over the last epoch that was run, null where no label was known."""

    loss: float | None
    disease_loss: float | None
    cancer_loss: float | None
    pairs: int
    steps: int
    epochs: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def fit(
    network: Network,
    store: FeatureStore,
    train: SplitImages,
    valid: SplitImages,
    phase: PhaseConfig,
    learning_rate: float,
    seed: int,
    keep_optimizer: bool = False,
    progress: FitProgress | None = None,
) -> FitReport:
    """Train the present weights for ``phase.local_epochs`` epochs and leave the result in the network.

    Everything random (pairs, dropout, augmentation) comes from ``seed``. With ``training.local_patience`` the epochs
    end early when the loss on ``valid`` has not fallen for so long, and the weights return to the best epoch. Without a
    pair nothing is trained and the report says 0 pairs.
    """
    started = time.monotonic()
    training = network.experiment.training
    network.start(phase.trainable, derive_seed(seed, "dropout"), keep_optimizer)
    network.set_learning_rate(phase.trainable, learning_rate)
    sums, steps, epochs, num_pairs = np.zeros(4), 0, 0, 0
    stopper = LocalStopper(network, store, valid, phase, seed, training.local_patience)
    for epoch in range(phase.local_epochs):
        pairs = training_pairs(
            train.xray.patients,
            train.ct.patients,
            network.experiment.data.pairing,
            network.experiment.data.epoch_length,
            derive_seed(seed, "pairs", epoch),
        )
        num_pairs = len(pairs.xray)
        if not num_pairs:
            break
        sums, num_batches, done = np.zeros(4), -(-num_pairs // training.batch_size), 0
        epoch_seed = derive_seed(seed, "augmentation", epoch)
        for step_sums in _epoch_steps(network, store, train, pairs, phase.trainable, epoch_seed, progress, epoch):
            sums += step_sums
            done += 1
            if progress:
                progress("train", done, num_batches, epoch, mean_losses(network, sums)["loss"])
        steps += done
        epochs += 1
        if not np.isfinite(sums).all():
            raise FloatingPointError(
                f"the training loss became {mean_losses(network, sums)['loss']} in local epoch {epoch + 1} at learning "
                f"rate {learning_rate:g}; lower training.learning_rate or training.clip_norm"
            )
        if stopper.should_stop():
            break
    stopper.restore_best()
    return FitReport(
        **mean_losses(network, sums), pairs=num_pairs, steps=steps, epochs=epochs, seconds=time.monotonic() - started
    )


def _epoch_steps(
    network: Network,
    store: FeatureStore,
    train: SplitImages,
    pairs: Pairs,
    trainable: str,
    seed: int,
    progress: FitProgress | None,
    epoch: int,
) -> Iterator[NDArray[np.float64]]:
    augmentation = network.experiment.training.augmentation
    if trainable == "heads":
        versions = augmentation.feature_versions if augmentation.enabled else 0

        def report(done: int, total: int) -> None:
            if progress:
                progress("features", done, total, epoch, None)

        xray = [store.pooled("xray", train.xray, True, report, version) for version in range(versions + 1)]
        ct = [store.pooled("ct", train.ct, True, report, version) for version in range(versions + 1)]
        chosen = np.random.default_rng(seed).integers(versions + 1, size=(2, len(pairs)))
        for rows in batches(len(pairs.xray), network.experiment.training.batch_size):
            x, c = pairs.xray[rows], pairs.ct[rows]
            features = _versions_of(xray, x, chosen[0, rows]), _versions_of(ct, c, chosen[1, rows])
            sums = network.step_on_pooled(*features, train.xray.targets[x], train.ct.targets[c])
            yield sums.numpy().astype(np.float64)
    else:
        for batch in image_batches(network, train, pairs, seed):
            yield network.step_on_images(*batch).numpy().astype(np.float64)


def _versions_of(
    features: list[NDArray[np.float32]], rows: NDArray[np.int64], versions: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Row ``rows[i]`` of ``features[versions[i]]`` for each i."""
    return np.stack([features[version][row] for row, version in zip(rows, versions, strict=True)])


def image_batches(network: Network, train: SplitImages, pairs: Pairs, seed: int) -> tf.data.Dataset:
    """Batches (xray, ct, disease, cancer) of one epoch; gathering and augmentation run ahead of the training step."""
    size = network.experiment.model.image_size
    config = network.experiment.training.augmentation
    images = tf.TensorSpec((None, size, size, 3), tf.uint8)
    disease = tf.TensorSpec((None, train.xray.targets.shape[1]), tf.float32)

    def gather() -> Iterator[tuple[Any, ...]]:
        for rows in batches(len(pairs.xray), network.experiment.training.batch_size):
            x, c = pairs.xray[rows], pairs.ct[rows]
            yield train.xray.images[x], train.ct.images[c], train.xray.targets[x], train.ct.targets[c]

    def prepare(index: tf.Tensor, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        xray, ct = (tf.cast(part, tf.float32) for part in batch[:2])
        if config.enabled:
            index = tf.cast(index, tf.int32)
            xray = augment(xray, config, tf.stack([seed, 2 * index]), may_flip=False)
            ct = augment(ct, config, tf.stack([seed, 2 * index + 1]), may_flip=True)
        return xray, ct, *batch[2:]

    dataset = tf.data.Dataset.from_generator(
        gather, output_signature=(images, images, disease, tf.TensorSpec((None,), tf.int32))
    )
    return (
        dataset.enumerate()
        .map(lambda index, batch: prepare(index, batch), num_parallel_calls=2, deterministic=True)
        .prefetch(2)
    )


class LocalStopper:
    """Local early stopping on the loss of the hospital's validation split; does nothing without patience or images."""

    def __init__(
        self,
        network: Network,
        store: FeatureStore,
        valid: SplitImages,
        phase: PhaseConfig,
        seed: int,
        patience: int | None,
    ) -> None:
        self._active = patience is not None and len(valid.xray) > 0 and len(valid.ct) > 0
        self._network, self._store, self._valid = network, store, valid
        self._trainable, self._seed, self._patience = phase.trainable, derive_seed(seed, "stop"), patience or 0
        self._best_loss, self._since_best = float("inf"), 0
        self._best_weights: Weights | None = None

    def should_stop(self) -> bool:
        """Score the epoch that has just ended; True when the patience is used up."""
        if not self._active:
            return False
        keep = self._trainable == "heads"
        loss = predict(self._network, self._store, self._valid, self._seed, keep)[1]["loss"]
        if loss is not None and loss < self._best_loss:
            self._best_loss, self._since_best = loss, 0
            self._best_weights = self._network.layout.read(self._network.trained_segments(self._trainable))
        else:
            self._since_best += 1
        return self._since_best >= self._patience

    def restore_best(self) -> None:
        if self._best_weights is not None and self._since_best:
            self._network.layout.write(self._best_weights)
