"""Training without a federation: all hospitals' images in one place, or one hospital alone; same trainer, same rounds.

This is the yardstick for the federation. The rounds run in this process, with one site that keeps its optimiser's state
from round to round, as ordinary training does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute
from fedthorax.common.config.personalisation import PersonalisationConfig
from fedthorax.common.config.travelling import require_local
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.messages.message import Reply, Task
from fedthorax.common.records.records import SPLITS, Attributes, Split
from fedthorax.server.channel import LateReply, Notify
from fedthorax.server.resume import open_run

if TYPE_CHECKING:
    from fedthorax.client.worker import SiteWorker
    from fedthorax.server.session import Outcome


def pool_sites(name: str, sites: Sequence[SiteImages]) -> SiteImages:
    """All images of ``sites``, split by split; the same patient id at two hospitals stays two patients."""
    splits: dict[Split, SplitImages] = {
        split: SplitImages(_pool(sites, split, "xray"), _pool(sites, split, "ct")) for split in SPLITS
    }
    return SiteImages(
        name,
        splits,
        tuple(bad for site in sites for bad in site.skipped),
        tuple(f"{site.name}: {note}" for site in sites for note in site.notes),
        tuple(folder for site in sites for folder in site.folders),
        tuple(issue for site in sites for issue in site.issues),
    )


def _pool(sites: Sequence[SiteImages], split: Split, modality: Literal["xray", "ct"]) -> ImageSet:
    sets = [getattr(site.splits[split], modality) for site in sites]
    return ImageSet(
        np.concatenate([images.images for images in sets]),
        np.concatenate([images.targets for images in sets]),
        tuple(path for images in sets for path in images.paths),
        tuple(
            f"{site.name}/{patient}" for site, images in zip(sites, sets, strict=True) for patient in images.patients
        ),
        tuple(digest for images in sets for digest in images.digests),
        tuple(attributes for images in sets for attributes in (images.attributes or (Attributes(),) * len(images))),
        tuple(images.ref(row).frame for images in sets for row in range(len(images))),
        tuple(named for images in sets for named in (images.named or (True,) * len(images))),
    )


POOLED = "pooled"


@dataclass
class LocalChannel:
    """Tasks for a worker in this process: nothing is sent anywhere."""

    worker: "SiteWorker"
    sites: Sequence[str]
    bytes_sent: int = 0
    bytes_received: int = 0

    def watch(self, notify: Notify) -> None:
        """Nothing to tell: the only hospital is this process."""

    def gather(self, required: int) -> frozenset[str]:
        return frozenset(self.sites)

    def exchange(self, tasks: Sequence[Task], enough: Callable[[], bool]) -> Iterator[Reply]:
        yield from map(self.worker.run, tasks)

    def late(self) -> list[LateReply]:
        return []


def with_one_site(experiment: Experiment) -> Experiment:
    """The experiment as ``train`` runs it and writes it down.

    With a single site there is nothing to combine and nothing to send: a strategy's momentum or pull and a codec's
    rounding would only be in the way, and nobody sees the steps that privacy would cover. Nor is there a common model
    that a hospital could make its own.
    """
    federation = experiment.federation.model_copy(
        update={"strategy": "fedavg", "codec": "float32", "unusual_updates": "off", "secure_aggregation": False}
    )
    changed = {"federation": federation, "personalisation": PersonalisationConfig(), "privacy": None}
    return experiment.model_copy(update=changed)


def train(experiment: Experiment, hospital: str | None = None, overwrite: bool = False) -> "Outcome":
    """Train on one hospital's images, or on all hospitals' pooled; blocks until the report is written.

    The number of passes over the data is the federation's: ``local_epochs`` in each round. Scores, selection, run
    folder and report are those of a federated run with a single site.
    """
    experiment = absolute(experiment)
    hospitals = experiment.data.hospitals
    experiment = with_one_site(experiment)
    require_local(experiment, hospitals if hospital is None else [hospital])
    with open_run(experiment, overwrite) as run:
        from fedthorax.client.worker import SiteWorker
        from fedthorax.common.ground.events import EventLog
        from fedthorax.common.hospital.images import SiteImages
        from fedthorax.common.hospital.site import load_hospital
        from fedthorax.common.model.dual import MODALITIES
        from fedthorax.common.training.features import FeatureStore
        from fedthorax.common.training.network import Network
        from fedthorax.server.session import build_network, run_session

        networks: dict[tuple[str, ...], tuple[Network, FeatureStore]] = {}
        images: list[SiteImages] = []

        def build(of: Experiment, modalities: tuple[str, ...] = MODALITIES) -> tuple[Network, FeatureStore]:
            """One network for the site and the server, which needs both encoders, unless the site lacks a modality: an
            encoder of nothing would cost each step as much as one of images."""
            if modalities not in networks:
                networks[modalities] = build_network(of, modalities)
            return networks[modalities]

        def load(of: Experiment, name: str, progress: Callable[[int, int], None]) -> SiteImages:
            if not images:
                sites = [load_hospital(of, one, progress) for one in ([hospital] if hospital else hospitals)]
                images.append(sites[0] if hospital else pool_sites(name, sites))
            return images[0]

        with EventLog(run.folder.events) as events:
            worker, sites = SiteWorker(load, build, events, keep_optimizer=True), (hospital or POOLED,)
            return run_session(experiment, sites, LocalChannel(worker, sites), run, "train", build)
