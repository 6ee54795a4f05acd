"""What one process keeps between tasks: the network, and decoded images of the hospitals it serves."""

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import numpy as np

from fedthorax.client.segment_store import SegmentStore
from fedthorax.client.site_store import SiteStore
from fedthorax.client.worker import Here, Modalities, SiteWorker
from fedthorax.common.config import Experiment
from fedthorax.common.ground.events import EventLog
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.model.dual import MODALITIES
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network

EVENTS_VARIABLE = "FEDTHORAX_EVENTS"  # where a simulation wants progress written
OWN_VARIABLE = "FEDTHORAX_OWN"  # folder in which a simulation's hospitals keep what of the model stays with them
SEGMENTS_VARIABLE = "FEDTHORAX_SEGMENTS"  # folder in which a simulation's hospitals keep the model's segments
DUPLICATE_KEY_VARIABLE = "FEDTHORAX_DUPLICATE_KEY"  # file of the key that a simulation's hospitals share


class SiteProcess:
    """Remembers the newest experiment's network and as many hospitals' images as ``data.cache.memory_mb`` allows.

    In a real hospital that is one hospital; in a simulation one process stands for several, and the memory it takes
    must not grow with their number.
    """

    def __init__(self, events: EventLog | None = None, **here: Unpack[Here]) -> None:
        """In a simulation the environment names what a real hospital gives."""
        events = events or EventLog(_named(EVENTS_VARIABLE))
        events.emit("process", pid=os.getpid())
        here["duplicate_key"] = here.get("duplicate_key") or _named(DUPLICATE_KEY_VARIABLE)
        here["segments"] = here.get("segments") or SegmentStore(_named(SEGMENTS_VARIABLE))
        here["own"] = here.get("own") or SiteStore(_named(OWN_VARIABLE))
        self.worker = SiteWorker(self._load, self._build, events, **here)
        self._experiment: Experiment | None = None
        self._networks: dict[Modalities, tuple[Network, FeatureStore]] = {}
        self._sites: OrderedDict[str, SiteImages] = OrderedDict()

    def network(self, experiment: Experiment) -> Network:
        """The whole network of the experiment, with both encoders."""
        return self._build(experiment, MODALITIES)[0]

    def _build(self, experiment: Experiment, modalities: Modalities) -> tuple[Network, FeatureStore]:
        self._forget_other(experiment)
        if modalities not in self._networks:
            network = Network(experiment, modalities)
            self._networks[modalities] = network, FeatureStore(network, experiment.data.cache.folder)
        return self._networks[modalities]

    def _load(self, experiment: Experiment, name: str, progress: Callable[[int, int], None]) -> SiteImages:
        self._forget_other(experiment)
        if name not in experiment.data.hospitals:
            raise ValueError(f"the experiment has no hospital {name!r}")
        if name in self._sites:
            self._sites.move_to_end(name)
            return self._sites[name]
        site = load_hospital(experiment, name, progress)
        self._sites[name] = site
        while len(self._sites) > 1 and sum(map(memory_bytes, self._sites.values())) > self._budget(experiment):
            self._sites.popitem(last=False)
        return site

    def _forget_other(self, experiment: Experiment) -> None:
        if experiment != self._experiment:
            self._experiment = experiment
            self._networks.clear()
            self._sites.clear()

    @staticmethod
    def _budget(experiment: Experiment) -> int:
        return experiment.data.cache.memory_mb << 20


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def memory_bytes(site: SiteImages) -> int:
    """Memory that the site's decoded images take; memory-mapped ones count nothing, the system can drop them."""
    return sum(
        images.images.nbytes
        for split in site.splits.values()
        for images in (split.xray, split.ct)
        if not isinstance(images.images, np.memmap)
    )
