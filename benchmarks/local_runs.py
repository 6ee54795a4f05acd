"""Runs of the product in this process, many arms and seeds on the same images, and what their models say of the test.

The server's rounds, strategies and averages and the hospitals' worker and trainer are the product's own; only the
channel is local. A test shows that Flower's simulation gives the same weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.cli.quiet import import_tensorflow, quiet_libraries

quiet_libraries()
import_tensorflow()

import keras  # noqa: E402  after TensorFlow has been told to be quiet

from fedthorax.client.own_part import OwnPart  # noqa: E402
from fedthorax.client.residuals import Residuals  # noqa: E402
from fedthorax.client.worker import SiteWorker  # noqa: E402
from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.data.images import ImageSet, SiteImages  # noqa: E402
from fedthorax.common.data.site import load_site  # noqa: E402
from fedthorax.common.events import EventLog  # noqa: E402
from fedthorax.common.metrics.intervals import (  # noqa: E402
    Figure,
    Resamples,
    cancer_resamples,
    disease_resamples,
    paired_difference,
)
from fedthorax.common.model.dual import MODALITIES, draw_weights  # noqa: E402
from fedthorax.common.model.segments import BACKBONE_SEGMENTS, SegmentLayout, segments_of  # noqa: E402
from fedthorax.common.run_folder import RunFolder  # noqa: E402
from fedthorax.common.seeds import derive_seed  # noqa: E402
from fedthorax.common.training.features import FeatureStore, Progress  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.scoring import Given, Predictions, predict  # noqa: E402
from fedthorax.server.central import CentralData  # noqa: E402
from fedthorax.server.resume import OpenRun  # noqa: E402
from fedthorax.server.session import run_session  # noqa: E402
from fedthorax.simulations.centralised import LocalChannel  # noqa: E402

SAMPLES = 2000
Score = tuple[str, Figure]
DISEASE: Score = ("disease", ("macro", "roc_auc"))
CANCER: Score = ("cancer", ("macro", "roc_auc"))
ACCURACY: Score = ("cancer", ("accuracy",))


class PictureFeatures(FeatureStore):
    """Features by picture, whoever holds it: images that are dealt out anew are not computed again.

    Only while the backbones stay as they are: nothing here looks at their weights.
    """

    def __init__(self, network: Network, folder: Path | None) -> None:
        if any(phase.trainable != "heads" for phase in network.experiment.training.phases):
            raise ValueError("training.phases must train heads only: other backbones have other features")
        super().__init__(network, folder)
        self._known: dict[tuple[str, int], dict[str, NDArray[np.float32]]] = {}
        self._sets: dict[tuple[str, int, tuple[str, ...]], NDArray[np.float32]] = {}

    def pooled(
        self,
        modality: str,
        images: ImageSet,
        keep: bool = False,
        progress: Progress | None = None,
        version: int = 0,
    ) -> NDArray[np.float32]:
        key = (modality, version, images.digests)
        if key not in self._sets:
            known = self._known.setdefault((modality, version), {})
            first = {digest: row for row, digest in reversed([*enumerate(images.digests)])}
            new = sorted(row for digest, row in first.items() if digest not in known)
            if new:
                part = _rows(images, new)
                known.update(zip(part.digests, super().pooled(modality, part, True, progress, version), strict=True))
            width = self._network.pooled_width(modality)
            self._sets[key] = np.array([known[digest] for digest in images.digests], np.float32).reshape(-1, width)
        return self._sets[key]


class Networks:
    """One network for each set of encoders, set to every run's own start: to build and trace one takes longer than many
    rounds of the heads. Every task has to begin with a fresh optimiser."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._networks: dict[tuple[str, ...], tuple[Network, dict[str, NDArray[np.float32]]]] = {}
        self._store: PictureFeatures | None = None

    def build(self, experiment: Experiment, modalities: tuple[str, ...] = MODALITIES) -> tuple[Network, FeatureStore]:
        graph = _graph_of(experiment)
        if graph != self._graph:
            self._graph, self._networks = graph, {}
        if modalities not in self._networks:
            network = Network(experiment, modalities)
            self._networks[modalities] = network, network.layout.read()
        network, first = self._networks[modalities]
        if network.experiment != experiment:
            network.experiment = experiment
            network.layout.write(first)
            draw_weights(network.model, experiment.seed)
            network.layout.write({name: first[name] for name in segments_of(modalities, BACKBONE_SEGMENTS)})
        if self._store is None:
            whole = network if modalities == MODALITIES else self.build(experiment)[0]
            self._store = PictureFeatures(whole, experiment.data.cache.folder)
        return network, self._store


def load_hospitals(experiment: Experiment) -> dict[str, SiteImages]:
    data, labels, size = experiment.data, experiment.labels, experiment.model.image_size
    return {
        name: load_site(name, data.sources_of(name), labels, data, data.splits, size, experiment.seed)
        for name in data.hospitals
    }


def is_finished(path: Path) -> bool:
    return (path / "metrics.json").is_file() and RunFolder.load(path).read_metrics()["status"] == "finished"


def run_locally(
    experiment: Experiment, sites: Mapping[str, SiteImages], build: Any, keep_optimizer: bool = False
) -> Path:
    """Run ``experiment`` with these hospitals, or find it finished; returns its run folder.

    ``build`` gives the network of an experiment and some modalities. ``keep_optimizer`` is for a single hospital.
    """
    path, names = experiment.run_folder, tuple(sites)
    if is_finished(path):
        return path
    with RunFolder.create(path, overwrite=True) as folder, EventLog(None) as silent:
        worker = SiteWorker(
            lambda _, site, __: sites[site],
            build,
            silent,
            keep_optimizer=keep_optimizer,
            own=OwnPart(path / "own"),
            residuals=Residuals(path / "own"),
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
    path: Path, network: Network, store: FeatureStore, central: CentralData, partners: int, given: Given = "both"
) -> Predictions:
    """What a run's selected model says of the images of the central test split, each with so many random partners, or
    with no partner where one modality is ``given`` alone.

    ``central`` is the same for all arms: a hospital that trains alone holds fewer of the test images than all hospitals
    together, so fewer were left out of its own test.
    """
    experiment = network.experiment
    model = keras.models.load_model(path / "model" / "best.keras")
    network.layout.write(SegmentLayout(model).read())
    seed = derive_seed(experiment.seed, "evaluation pairs", "central", "test")
    predictions, _ = predict(network, store, central.test, seed, given=given, partners=partners)
    return predictions


def resamples_of(predictions: Predictions, central: CentralData, experiment: Experiment) -> dict[str, Resamples]:
    """By head; the same patients in every resample of every arm. A head whose images have no prediction is not in."""
    labels, xray, ct = experiment.labels, central.test.xray, central.test.ct
    found = {}
    if not np.isnan(predictions.disease).any():
        found["disease"] = disease_resamples(
            xray.targets, predictions.disease, xray.patients, labels.findings, 0.5, SAMPLES, 1
        )
    if not np.isnan(predictions.cancer).any():
        found["cancer"] = cancer_resamples(
            ct.targets, predictions.cancer, ct.patients, labels.cancer_classes, SAMPLES, 1
        )
    return found


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


def _graph_of(experiment: Experiment) -> tuple[Any, ...]:
    """What a network is built and traced from; all else it reads as it goes."""
    training, federation = experiment.training, experiment.federation
    own = federation.strategy if federation.strategy in ("fedprox", "scaffold") else None
    proximal = federation.strategy_settings.proximal if own == "fedprox" else None
    built = (training.loss, training.clip_norm, training.weight_decay, training.threads)
    return experiment.model, experiment.labels, *built, own, proximal


def _rows(images: ImageSet, rows: Sequence[int]) -> ImageSet:
    return replace(
        images,
        images=images.images[list(rows)],
        targets=images.targets[list(rows)],
        **{name: tuple(getattr(images, name)[row] for row in rows) for name in ("paths", "patients", "digests")},
        attributes=tuple(images.attributes[row] for row in rows) if images.attributes else (),
        frames=None if images.frames is None else tuple(images.frames[row] for row in rows),
    )
