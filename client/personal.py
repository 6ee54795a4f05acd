"""A hospital's own model: fine-tuned here, scored here beside the common one, on test images that neither has seen."""

from typing import Any

from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.hospital.overlap import unseen
from fedthorax.common.training.compared import Truth, compared
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import FitProgress
from fedthorax.common.training.network import Network
from fedthorax.common.training.personalise import personalise
from fedthorax.common.training.scoring import in_use, predict, scores_of


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
