"""Rounds of the heads in this process, on features that are computed once: what a run does, without messages, files and
report, so that hundreds of runs are affordable.

The hospitals' training (`fit`, control variates), what they count, and the server's strategies, averages, schedule and
selection are the product's own. `unequal_hospitals.py --whole-run` compares the weights with those of a whole run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from local_runs import CentralData, Experiment, FeatureStore, Network, SiteImages
from numpy.typing import NDArray

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import RoundShape, State, Trained, Update
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import ImageSet
from fedthorax.common.model.dual import MODALITIES, draw_weights
from fedthorax.common.model.segments import BACKBONE_SEGMENTS, HEAD_SEGMENTS, Weights, segments_of
from fedthorax.common.training.branch_counts import branch_counts, parts_of
from fedthorax.common.training.features import Progress
from fedthorax.common.training.fit import fit
from fedthorax.common.training.schedule import plan_round
from fedthorax.server.selection import Selection, selection_value


class PictureFeatures(FeatureStore):
    """Features by picture, whoever holds it: images that are dealt out anew are not computed again.

    Only while the backbones stay as they are: nothing here looks at their weights.
    """

    def __init__(self, network: Network, folder: Path | None) -> None:
        if any(phase.trains_backbones for phase in network.experiment.training.phases):
            raise ValueError("training.phases must train heads only: other backbones have other features")
        super().__init__(network, folder)
        self._known: dict[tuple[str, int], dict[str, NDArray[np.float32]]] = {}
        self._sets: dict[tuple[str, int, tuple[str, ...]], NDArray[np.float32]] = {}

    def _of(self, modality: str, images: ImageSet, version: int, progress: Progress | None) -> NDArray[np.float32]:
        key = (modality, version, images.digests)
        if key not in self._sets:
            known = self._known.setdefault((modality, version), {})
            first = {digest: row for row, digest in reversed([*enumerate(images.digests)])}
            new = sorted(row for digest, row in first.items() if digest not in known)
            if new:
                part = _rows(images, new)
                found = self._found(modality, part, version, self._backbone_key(modality, 0), True, progress, 0)
                known.update(zip(part.digests, found, strict=True))
            width = self._network.pooled_width(modality)
            self._sets[key] = np.array([known[digest] for digest in images.digests], np.float32).reshape(-1, width)
        return self._sets[key]

    def versions(
        self,
        modality: str,
        images: ImageSet,
        count: int,
        keep: bool = False,
        progress: Progress | None = None,
        top: int = 0,
    ) -> list[NDArray[np.float32]]:
        return [self._of(modality, images, version, progress) for version in range(count)]


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


@dataclass
class HeadsRun:
    """One run; ``validation`` is the central validation's Scores by round, ``best`` the selected weights."""

    experiment: Experiment
    sites: Mapping[str, SiteImages]
    networks: Networks
    central: CentralData
    validation: dict[int, dict[str, Any]] = field(default_factory=dict)
    selection: Selection = field(init=False)
    best: Weights = field(init=False)

    def __post_init__(self) -> None:
        self.selection = Selection(self.experiment.evaluation.selection_metric)
        self._own: dict[str, Weights] = {}  # what the algorithm keeps, by hospital

    def run(self, every: int = 1) -> None:
        """All rounds, of which each ``every``-th and the last are validated; leaves the selected weights in the whole
        network."""
        network, store = self.networks.build(self.experiment)
        federation, rounds = self.experiment.federation, self.experiment.training.num_rounds
        algorithm = algorithm_of(federation.strategy)
        shape = self._shape(network)
        state: State = {}
        weights: Weights = network.layout.read(HEAD_SEGMENTS)
        for number in range(1, rounds + 1):
            aggregate = algorithm.aggregate(federation.strategy_settings, shape)
            try:
                for site in self.sites:
                    aggregate.add(self._update(site, number, weights, algorithm.tell(state)))
                found, state = aggregate.result(weights, state)
            finally:
                aggregate.close()
            weights = {**weights, **found}
            network.layout.write(weights)
            if algorithm.measures_batch_norm:
                self.central.normalise(network, store)
                weights = network.layout.read(HEAD_SEGMENTS)
            if number % every == 0 or number == rounds:
                self._validate(number, weights, network, store)
        network.layout.write(self.best)

    def _update(self, site: str, number: int, weights: Weights, told: Weights) -> Update:
        """What a hospital makes of the common model, as its worker does."""
        experiment, images = self.experiment, self.sites[site]
        modalities = images.modalities if experiment.model.absent == "token" else MODALITIES
        network, store = self.networks.build(experiment, modalities)
        trained = network.trained_segments("heads")
        came = {name: weights[name] for name in trained}
        half, kept = algorithm_of(experiment.federation.strategy).hospital, self._own.get(site, {})
        began = half.arrive(network.layout, came, kept) if half.arrive else came
        network.layout.write(began)
        plan = plan_round(experiment.training, number)
        fitted = fit(
            network,
            store,
            images.splits["train"],
            images.splits["valid"],
            plan.phase,
            plan.learning_rate,
            derive_seed(experiment.seed, "fit", site, number),
            given=half.give(told, kept, trained),
        )
        read, gathered = network.layout.read(trained), network.gathered("heads", fitted.steps)
        leaving = half.leave(Trained(network.layout, came, began, read, kept, gathered))
        self._own[site], update, beside = leaving.keep, leaving.update, leaving.beside
        counts = branch_counts(images.splits["train"], fitted) if experiment.weighs_branches else {}
        if not experiment.weighs_branches:  # as the server does: a hospital votes for the encoder that it lacks
            update = {name: update.get(name, values) for name, values in weights.items()}
            if beside:
                beside = {name: beside.get(name, np.zeros_like(values)) for name, values in update.items()}
        return Update(site, update, fitted.pairs, counts, None, beside)

    def _shape(self, network: Network) -> RoundShape:
        layout, findings = network.layout, len(self.experiment.labels.findings)
        parts = parts_of(layout, HEAD_SEGMENTS, findings) if self.experiment.weighs_branches else None
        sizes = {name: layout.sizes[name] for name in HEAD_SEGMENTS}
        statistics = {name: layout.statistics(name) for name in HEAD_SEGMENTS}
        return RoundShape(sizes, parts, statistics, {name: layout.batch_norm(name) for name in HEAD_SEGMENTS})

    def _validate(self, number: int, weights: Weights, network: Network, store: FeatureStore) -> None:
        scores = self.central.validate(network, store, True)
        self.validation[number] = scores
        weights_of = self.experiment.evaluation.selection_weights
        self.selection = self.selection.after(number, selection_value(scores, self.selection.metric, weights_of), None)
        if self.selection.best_round == number:
            self.best = weights


def _graph_of(experiment: Experiment) -> tuple[Any, ...]:
    """What a network is built and traced from; all else it reads as it goes."""
    training, federation = experiment.training, experiment.federation
    step = algorithm_of(federation.strategy).hospital.step
    built = (training.loss, training.clip_norm, training.weight_decay, training.warmup_steps, training.threads)
    return experiment.model, experiment.labels, *built, step, federation.strategy_settings if step else None


def _rows(images: ImageSet, rows: Sequence[int]) -> ImageSet:
    return replace(
        images,
        images=images.images[list(rows)],
        targets=images.targets[list(rows)],
        **{name: tuple(getattr(images, name)[row] for row in rows) for name in ("paths", "patients", "digests")},
        attributes=tuple(images.attributes[row] for row in rows) if images.attributes else (),
        frames=None if images.frames is None else tuple(images.frames[row] for row in rows),
    )
