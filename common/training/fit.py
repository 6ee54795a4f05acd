"""Local training: some epochs over randomly paired images, the same for a hospital and a centralised run."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config import Experiment
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.model.dual import HEADS, MODALITIES
from fedthorax.common.model.segments import Weights
from fedthorax.common.pairing import (
    ABSENT,
    Pairs,
    drop_sides,
    images_by_patient,
    in_turn,
    one_sided_pairs,
    training_pairs,
)
from fedthorax.common.training.batches import image_batches
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import Trainable, scope_of
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
    without_xray: int = 0  # pairs of the last epoch in which a token stood for the X-ray
    without_ct: int = 0


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
    part: Trainable | None = None,
    patience: int | None = None,
    given: Weights | None = None,
    stopped: Collection[str] = (),
) -> FitReport:
    """Train the present weights for ``phase.local_epochs`` epochs and leave the result in the network.

    ``part`` of the network instead of what the phase trains, and ``patience`` instead of ``training.local_patience``,
    are for personalisation. ``given`` are vectors for the algorithm's local step. ``stopped`` parts of the phase are
    left as they are; where nothing that is trained can learn from these images, the report says 0 pairs too.

    Everything random (pairs, dropout, augmentation) comes from ``seed``. With ``training.local_patience`` the epochs
    end early when the loss on ``valid`` has not fallen for so long, and the weights return to the best epoch. Without a
    pair nothing is trained and the report says 0 pairs.
    """
    started = time.monotonic()
    training = network.experiment.training
    trainable = part or scope_of(phase, stopped)
    if not _can_learn(network, trainable, train):
        return FitReport(None, None, None, 0, 0, 0, time.monotonic() - started)
    network.start(trainable, derive_seed(seed, "dropout"), keep_optimizer, given)
    network.set_learning_rate(trainable, learning_rate)
    network.know_labels(train.xray.targets, train.ct.targets, at_home=part is not None)
    sums, steps, epochs, num_pairs, without = np.zeros(4), 0, 0, 0, {"without_xray": 0, "without_ct": 0}
    stopper = LocalStopper(network, store, valid, trainable, seed, patience or training.local_patience)
    for epoch in range(phase.local_epochs):
        pairs = epoch_pairs(network.experiment, train, derive_seed(seed, "pairs", epoch))
        num_pairs = len(pairs.xray)
        without = {f"without_{name}": int(np.sum(getattr(pairs, name) == ABSENT)) for name in MODALITIES}
        if not num_pairs:
            break
        sums, num_batches, done = np.zeros(4), -(-num_pairs // training.batch_size), 0
        epoch_seed = derive_seed(seed, "augmentation", epoch)
        for step_sums in _epoch_steps(network, store, train, pairs, trainable, epoch_seed, progress, epoch):
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
        **mean_losses(network, sums),
        pairs=num_pairs,
        steps=steps,
        epochs=epochs,
        seconds=time.monotonic() - started,
        **without,
    )


def _can_learn(network: Network, trainable: Trainable, train: SplitImages) -> bool:
    """Whether a known label reaches anything that is trained. Where updates are masked, who said at the beginning that
    it contributes does: others' would show otherwise."""
    known = {"disease": not np.isnan(train.xray.targets).all(), "cancer": bool((train.ct.targets >= 0).any())}
    return labels_reach(network.experiment, network.trained_segments(trainable), known)


def labels_reach(experiment: Experiment, segments: Collection[str], known: Mapping[str, bool]) -> bool:
    """Whether a label that counts in the loss reaches one of ``segments``, where of a head labels are ``known``: an
    X-ray department has no gradient for the softmax of the CT classes, and without a fusion none for what lies before
    it. Under masks every segment is reached."""
    if experiment.federation.secure_aggregation:
        return bool(segments)
    loss = experiment.training.loss
    weights = {"disease": loss.disease_weight, "cancer": loss.cancer_weight}
    taught = {head: known[head] and weight > 0 for head, weight in weights.items()}
    before = {} if experiment.model.fusion_units else dict(zip(MODALITIES, HEADS, strict=True))
    branches = {segment.partition(".")[0] for segment in segments}
    return any(taught.get(before.get(branch, branch), any(taught.values())) for branch in branches)


def epoch_pairs(experiment: Experiment, train: SplitImages, seed: int) -> Pairs:
    """The pairs of one epoch; with tokens also of a hospital that has one modality only.

    Of those an image that no label is known of is in none: without a partner it would teach nothing.
    """
    rows = {side: np.flatnonzero(taught(train, side)) for side in MODALITIES}
    patients = {side: [train.of(side).patients[row] for row in rows[side]] for side in MODALITIES}
    if experiment.data.sample_by == "image":
        images = {side: [[row] for row in rows[side].tolist()] for side in MODALITIES}
    else:
        images = {
            side: [
                rows[side][places].tolist()
                for places in images_by_patient(of, derive_seed(seed, "one a patient", side))
            ]
            for side, of in patients.items()
        }
        patients = {side: [train.of(side).patients[of[0]] for of in images[side]] for side in MODALITIES}
    pairs = _drawn(experiment, patients, seed)
    return Pairs(in_turn(images["xray"], pairs.xray), in_turn(images["ct"], pairs.ct))


def taught(train: SplitImages, side: str) -> NDArray[np.bool_]:
    """(N,) which images of a side are trained on: with one modality only those that a label is known of."""
    images = train.of(side)
    if len(train.xray) and len(train.ct):
        return np.ones(len(images), bool)
    known: NDArray[np.bool_] = images.targets >= 0 if side == "ct" else ~np.isnan(images.targets).all(axis=1)
    return known


def _drawn(experiment: Experiment, patients: Mapping[str, Sequence[str]], seed: int) -> Pairs:
    """Pairs of places in ``patients``, which has the patient of each X-ray and of each CT slice."""
    data, xray, ct = experiment.data, patients["xray"], patients["ct"]
    if experiment.model.absent == "token" and not (xray and ct):
        return one_sided_pairs(len(xray), len(ct), seed)
    pairs = training_pairs(xray, ct, data.pairing, data.epoch_length, seed)
    rate = experiment.training.modality_dropout
    return drop_sides(pairs, rate, derive_seed(seed, "modality dropout")) if rate else pairs


def _epoch_steps(
    network: Network,
    store: FeatureStore,
    train: SplitImages,
    pairs: Pairs,
    trainable: Trainable,
    seed: int,
    progress: FitProgress | None,
    epoch: int,
) -> Iterator[NDArray[np.float64]]:
    augmentation = network.experiment.training.augmentation
    versions = augmentation.feature_versions if augmentation.enabled else 0

    def report(done: int, total: int) -> None:
        if progress:
            progress("features", done, total, epoch, None)

    kept = {
        name: store.versions(name, train.of(name), versions + 1, keep=True, progress=report, top=top)
        for name, top in network.given(trainable).items()
        if top is not None
    }
    step = network.step(trainable)
    for batch in image_batches(network, train, pairs, seed, kept):
        yield step(*batch).numpy().astype(np.float64)


class LocalStopper:
    """Local early stopping on the loss of the hospital's validation split; does nothing without patience or images."""

    def __init__(
        self,
        network: Network,
        store: FeatureStore,
        valid: SplitImages,
        trainable: Trainable,
        seed: int,
        patience: int | None,
    ) -> None:
        scored = max if network.tokens else min  # with tokens one modality is enough
        self._active = patience is not None and scored(len(valid.xray), len(valid.ct)) > 0
        self._network, self._store, self._valid = network, store, valid
        self._trainable, self._seed, self._patience = trainable, derive_seed(seed, "stop"), patience or 0
        self._best_loss, self._since_best = float("inf"), 0
        self._best_weights: Weights | None = None

    def should_stop(self) -> bool:
        """Score the epoch that has just ended; True when the patience is used up."""
        if not self._active:
            return False
        keep = not any(top != 0 for top in self._network.given(self._trainable).values())
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
