"""Fine-tuning the common model on one hospital's images, and keeping what is better there.

Wang et al., "Federated Evaluation of On-device Personalization", 2019: train further at home, keep the result only
where it is better on held-out images. Training the output layers alone, or normalisation alone, moves less and needs
fewer images: Arivazhagan et al., "Federated Learning with Personalization Layers", 2019; Li et al., FedBN, ICLR 2021.
"""

from dataclasses import dataclass
from typing import Any

from fedthorax.common.config.personalisation import FineTuned
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.hospital.overlap import unseen
from fedthorax.common.training.compared import compared
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import FitProgress, fit
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import scope_of
from fedthorax.common.training.scoring import Truth, in_use, predict, scores_of

COMMON = "common"


@dataclass(frozen=True)
class Personal:
    """``kept`` is what was fine-tuned, None where the common model stays; ``reason`` says why it stays without a
    comparison. ``valid_loss`` has the common model's loss and that of each attempt, ``epochs`` the passes of each."""

    kept: FineTuned | None
    reason: str | None
    valid_loss: dict[str, float | None]
    epochs: dict[str, int]


def personalise(
    network: Network,
    store: FeatureStore,
    train: SplitImages,
    valid: SplitImages,
    seed: int,
    progress: FitProgress | None = None,
) -> Personal:
    """Try what ``personalisation`` of the experiment names, each from the network's present weights; leaves the best in
    the network, on equal terms what was there before."""
    config, training = network.experiment.personalisation, network.experiment.training
    common = network.layout.read()
    best, kept = common, None
    lowest = _loss(network, store, valid, seed)
    losses: dict[str, float | None] = {COMMON: lowest}
    epochs: dict[str, int] = {}
    if lowest is None:
        return Personal(None, "No label is known in the validation split, so nothing can be compared.", losses, epochs)
    last = training.phases[-1].model_copy(update={"local_epochs": config.epochs})
    for part in config.fine_tune:
        network.layout.write(common)
        trained, own_rate = (scope_of(last), last.learning_rate) if part == "last_phase" else (part, None)
        rate = config.learning_rate or own_rate or training.learning_rate
        fit_seed = derive_seed(seed, "personalise", part)
        fitted = fit(network, store, train, valid, last, rate, fit_seed, False, progress, trained, config.patience)
        if not fitted.pairs:
            continue
        epochs[part], losses[part] = fitted.epochs, _loss(network, store, valid, seed)
        loss = losses[part]
        if loss is not None and loss < lowest:
            best, kept, lowest = network.layout.read(), part, loss
    network.layout.write(best)
    return Personal(kept, None if epochs else "There is no pair to train on.", losses, epochs)


def own_model(
    network: Network, store: FeatureStore, images: SiteImages, seed: int, test_seed: int, progress: FitProgress
) -> dict[str, Any]:
    """``personal`` of a hospital in metrics.json; leaves in the network what is better, the common model or its own.

    Scores are of single pairs, as a user sees them, and of probabilities as the models give them: to calibrate them
    would need validation images that have not chosen the model.
    """
    experiment, test = network.experiment, unseen(images.splits)
    common, losses = predict(network, store, test, test_seed, repeats=in_use(experiment))
    done = personalise(network, store, images.splits["train"], images.splits["valid"], seed, progress)
    told: dict[str, Any] = {
        "kept": done.kept,
        "reason": done.reason,
        "valid_loss": done.valid_loss,
        "epochs": done.epochs,
        "common": scores_of(network, test, common, losses),
        "own": None,
        "comparison": None,
    }
    if done.kept is not None:
        own, losses = predict(network, store, test, test_seed, repeats=in_use(experiment))
        told |= {
            "own": scores_of(network, test, own, losses),
            "comparison": compared(experiment, Truth.of(test), own, common),
        }
    return told


def _loss(network: Network, store: FeatureStore, valid: SplitImages, seed: int) -> float | None:
    loss: float | None = predict(network, store, valid, derive_seed(seed, "personalise", "valid"))[1]["loss"]
    return loss
