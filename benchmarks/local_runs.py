"""Runs of the product in this process, many arms and seeds on the same images, and what their models say of the test.

The server's rounds, strategies and averages and the hospitals' worker and trainer are the product's own; only the
channel is local. A test shows that Flower's simulation gives the same weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

import keras  # noqa: E402  after TensorFlow has been told to be quiet

from fedthorax.client.site_store import SiteStore  # noqa: E402
from fedthorax.client.worker import SiteWorker  # noqa: E402
from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.ground.events import EventLog  # noqa: E402
from fedthorax.common.ground.seeds import derive_seed  # noqa: E402
from fedthorax.common.hospital.images import SiteImages  # noqa: E402
from fedthorax.common.hospital.site import load_hospital  # noqa: E402
from fedthorax.common.metrics.intervals import (  # noqa: E402
    Figure,
    Resamples,
    paired_difference,
    resampled,
)
from fedthorax.common.model.dual import MODALITIES  # noqa: E402
from fedthorax.common.model.segments import SegmentLayout  # noqa: E402
from fedthorax.common.record.run_folder import RunFolder  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.scoring import Given, Predictions, Repeats, answers_of, predict  # noqa: E402
from fedthorax.server.central import CentralData  # noqa: E402
from fedthorax.server.resume import OpenRun  # noqa: E402
from fedthorax.server.session import run_session  # noqa: E402
from fedthorax.simulations.centralised import LocalChannel  # noqa: E402

SAMPLES = 2000
SINGLE_PAIR = 1  # partner, which is what `fedthorax predict` sees and a run's own test is of
Score = tuple[str, Figure]
DISEASE: Score = ("disease", ("macro", "roc_auc"))
CANCER: Score = ("cancer", ("macro", "roc_auc"))
ACCURACY: Score = ("cancer", ("accuracy",))
SCORES = {"X-ray macro ROC-AUC": DISEASE, "CT macro ROC-AUC": CANCER, "CT accuracy": ACCURACY}


def load_hospitals(experiment: Experiment) -> dict[str, SiteImages]:
    return {name: load_hospital(experiment, name) for name in experiment.data.hospitals}


class Networks:
    """One network for each set of encoders; those of another experiment are let go. Features on disk are shared: their
    key does not hold the seed."""

    def __init__(self) -> None:
        self._experiment: Experiment | None = None
        self._networks: dict[tuple[str, ...], tuple[Network, FeatureStore]] = {}

    def build(self, experiment: Experiment, modalities: tuple[str, ...] = MODALITIES) -> tuple[Network, FeatureStore]:
        if self._experiment != experiment:
            self._experiment, self._networks = experiment, {}
        if modalities not in self._networks:
            network = Network(experiment, modalities)
            self._networks[modalities] = network, FeatureStore(network, experiment.data.cache.folder)
        return self._networks[modalities]


def is_finished(path: Path) -> bool:
    return (path / "metrics.json").is_file() and RunFolder.load(path).read_metrics()["status"] == "finished"


def run_locally(
    experiment: Experiment, sites: Mapping[str, SiteImages], build: Any, keep_optimizer: bool = False
) -> Path:
    """Run ``experiment`` with these hospitals, or find it finished; returns its run folder.

    ``build`` gives the network of an experiment and some modalities. ``keep_optimizer`` is for a single hospital, whose
    steps are not judged either, as in `fedthorax train`: the bound on them is that of an Adam that begins anew.
    """
    if keep_optimizer:
        federation = experiment.federation.model_copy(update={"unusual_updates": "off"})
        experiment = experiment.model_copy(update={"federation": federation})
    path, names = experiment.run_folder, tuple(sites)
    if is_finished(path):
        return path
    with RunFolder.create(path, overwrite=True) as folder, EventLog(None) as silent:
        worker = SiteWorker(
            lambda _, site, __: sites[site],
            build,
            silent,
            keep_optimizer=keep_optimizer,
            own=SiteStore(path / "own"),
        )
        run_session(experiment, names, LocalChannel(worker, names), OpenRun(folder), "train", build)
    return path


def selected(path: Path) -> float:
    """The central validation figure of a run's selected round."""
    value: float = RunFolder.load(path).read_metrics()["selection"]["value"]
    return value


def central_without(experiment: Experiment, sites: Iterable[SiteImages]) -> CentralData:
    """The server's images, less the test images that any of ``sites`` holds too."""
    central = CentralData(experiment)
    parts = [split.of(modality) for site in sites for split in site.splits.values() for modality in MODALITIES]
    held = {digest for part in parts for digest in part.digests}
    central.leave_out({"hospitals": [row for row, digest in enumerate(central.all_digests) if digest in held]})
    return central


def predictions_of(
    path: Path, network: Network, store: FeatureStore, central: CentralData, partners: int
) -> Predictions:
    """What a run's selected model says of the images of the central test split, each with so many random partners and
    in all views of ``evaluation.views``.

    A hospital that trains alone holds fewer of the test images than all hospitals together, so fewer were left out of
    its own test; with the same ``central`` every arm is scored on the same images.
    """
    network.layout.write(SegmentLayout(keras.models.load_model(path / "model" / "best.keras")).read())
    return predictions_on_test(network, store, central, partners)


def predictions_on_test(
    network: Network, store: FeatureStore, central: CentralData, partners: int, given: Given = "both"
) -> Predictions:
    """The same of the present weights; without partners where one modality is ``given`` alone."""
    seed = derive_seed(network.experiment.seed, "evaluation pairs", "central", "test")
    repeats = Repeats(partners, network.experiment.evaluation.views)
    return predict(network, store, central.test, seed, given=given, repeats=repeats)[0]


def resamples_of(predictions: Predictions, central: CentralData, experiment: Experiment) -> dict[str, Resamples]:
    """By head; the same patients in every resample of every arm. A head whose images have no prediction is not in."""
    answers = answers_of(experiment, central.test, predictions)
    whole = [task for task in answers if not np.isnan(getattr(predictions, task)).any()]
    return {task: resampled(answers[task], SAMPLES, 1) for task in whole}


def figure_of(resamples: Sequence[Mapping[str, Resamples]], score: Score) -> dict[str, Any]:
    """Mean over the seeds with the 95 % interval over patients and seeds, and each seed's value."""
    head, name = score
    mine = [each[head] for each in resamples]
    zero = [replace(each, values={key: np.zeros_like(value) for key, value in each.values.items()}) for each in mine]
    difference: dict[str, Any] = paired_difference(mine, zero, name)["difference"]
    return difference | {"seeds": [float(each.values[name][0]) for each in mine]}


def compared(
    first: Sequence[Mapping[str, Resamples]], second: Sequence[Mapping[str, Resamples]], score: Score
) -> dict[str, Any]:
    """``paired_difference`` of two arms, seed by seed on the same patients."""
    head, name = score
    return paired_difference([each[head] for each in first], [each[head] for each in second], name)


def interval(value: Mapping[str, Any], form: str) -> str:
    low, high = value["interval"] or (float("nan"), float("nan"))
    return f"{low:{form}} to {high:{form}}"


def with_interval(value: Mapping[str, Any], seeds: bool = False) -> str:
    """``0.692 (0.656 to 0.735)``, of a figure with its least and its largest of the ``seeds``."""
    spread = f"; seeds {min(value['seeds']):.3f}-{max(value['seeds']):.3f}" if seeds else ""
    return f"{value['value']:.3f} ({interval(value, '.3f')}{spread})"


def signed(difference: Mapping[str, Any]) -> str:
    """``+0.034 (+0.013 to +0.062)``."""
    return f"{difference['value']:+.3f} ({interval(difference, '+.3f')})"
