"""The site worker: all that a hospital does for the consortium, on its own images, one task at a time.

Flower is not known here. The worker takes a Task and gives a Reply; in a simulation it runs inside the Ray actor.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from fedthorax import __version__
from fedthorax.client.masking import Masks
from fedthorax.client.packed_update import PackedUpdate, pack_update
from fedthorax.client.private import Private, PrivateUpdate
from fedthorax.client.segment_store import LackingSegmentsError, SegmentStore
from fedthorax.client.site_store import SiteStore
from fedthorax.client.statistics import site_statistics
from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import Leaving, Trained
from fedthorax.common.config import Experiment
from fedthorax.common.config.load import parse_experiment
from fedthorax.common.config.privacy import PrivacyConfig, at_least, stricter
from fedthorax.common.disclosure.passport import EXACT, fingerprint, passport
from fedthorax.common.ground.events import EventLog
from fedthorax.common.ground.machine import peak_memory_mb
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.hospital.overlap import keyed_digests
from fedthorax.common.issues.unusable import outside_words
from fedthorax.common.masking.keys import Trust
from fedthorax.common.messages.message import Reply, Segments, Task, failed
from fedthorax.common.messages.replies import (
    REPLIES,
    DescribeReply,
    EvaluateReply,
    PersonaliseReply,
    StatisticsReply,
    TrainReply,
)
from fedthorax.common.messages.results import (
    BranchCounts,
    Described,
    Evaluated,
    Told,
    UpdateTold,
)
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.common.messages.tasks import (
    DescribeTask,
    EvaluateTask,
    ModelTask,
    PersonaliseTask,
    StatisticsTask,
    TrainTask,
)
from fedthorax.common.metrics.operating import OperatingPoints, fixed_operating_points
from fedthorax.common.metrics.scores import Personal
from fedthorax.common.metrics.scores import Scores as Scored
from fedthorax.common.model.dual import MODALITIES
from fedthorax.common.model.segments import segments_of
from fedthorax.common.pairing import PairingReport, reuse
from fedthorax.common.record.passport import Passport
from fedthorax.common.record.run import FitTold
from fedthorax.common.records.records import UNKNOWN_CLASS, Split
from fedthorax.common.training.branch_counts import branch_counts
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import epoch_pairs, fit
from fedthorax.common.training.hospital_scores import hospital_tests, validation_histograms
from fedthorax.common.training.network import Network
from fedthorax.common.training.personalise import own_model
from fedthorax.common.training.schedule import scope_of
from fedthorax.common.training.scoring import Scores, score

NOTHING_TOLD = 1 << 40  # a smallest count that nothing reaches
LoadImages = Callable[[Experiment, str, Callable[[int, int], None]], SiteImages]
Modalities = tuple[str, ...]
BuildNetwork = Callable[[Experiment, Modalities], tuple[Network, FeatureStore]]


_SCORED: tuple[Split, ...] = ("train", "valid")

# Counting is not training: the lead is to hear of such data too. Files that cannot be read still need an acceptance.
_COUNTED_ANYWAY = ("duplicate-across-splits", "duplicate-different-labels", "patient-across-splits")


class Here(TypedDict, total=False):
    """What a hospital brings along; see SiteWorker."""

    privacy: PrivacyConfig | None
    duplicate_key: Path | None
    file_names: bool
    segments: SegmentStore | None
    own: SiteStore | None
    smallest_score: int
    trust: Callable[[], Trust] | None
    private: Private | None


class SiteWorker:
    """Answers a closed list of tasks; anything that goes wrong becomes a Reply with the reason in one line.

    ``load_images`` and ``build_network`` are called when a task first needs them and are expected to remember, so that
    a process which serves several virtual hospitals holds one network. ``duplicate_key`` is the file of the key that
    the hospitals share; ``segments`` holds what the server need not send again, ``own`` what of the model stays here,
    and what rounding left out of updates.

    ``privacy`` is a real hospital's own policy for counts; the stricter of it and the consortium's holds for statistics
    and passport. None is a simulation, whose images all have one owner: the experiment's policy holds for statistics,
    and the passport is exact. Of scores by subgroup, and of bins of scores, fewer than ``smallest_score`` are few too.
    Without ``file_names`` no file is named and nothing that stands in one is quoted in what leaves: errors in the data
    are told in general words, and in full to ``events``. ``private`` is a real hospital's secret and budget.
    """

    def __init__(
        self,
        load_images: LoadImages,
        build_network: BuildNetwork,
        events: EventLog,
        keep_optimizer: bool = False,
        **here: Unpack[Here],
    ) -> None:
        self._load_images = load_images
        self._build_network = build_network
        self._events = events
        self._keep_optimizer = keep_optimizer  # right only where the weights come back as they were sent
        self._privacy, self._duplicate_key = here.get("privacy"), here.get("duplicate_key")
        self._file_names, self._smallest_score = here.get("file_names", True), here.get("smallest_score", 0)
        self.segments, self.own = here.get("segments") or SegmentStore(), here.get("own") or SiteStore()
        self.masks = Masks(self.own, here.get("trust"))
        self._private = here.get("private") or Private(self.own)
        self._tasks: dict[str, Callable[[Any, Experiment], Reply]] = {
            "describe": self._describe,
            "train": self._train,
            "evaluate": self._evaluate,
            "personalise": self._personalise,
            "statistics": self._statistics,
            "unmask": self.masks.unmask,
        }

    def run(self, task: Task) -> Reply:
        """Do ``task``. Never raises for what a person or a file can cause: the server has to hear of it."""
        try:
            if task.kind not in self._tasks:
                raise ValueError(f"unknown task {task.kind!r}; this site does {', '.join(self._tasks)}")
            experiment = parse_experiment(task.experiment)
            return self._tasks[task.kind](task, experiment).model_copy(update={"task_id": task.id})
        except LackingSegmentsError as error:
            reply = REPLIES[task.kind]
            return reply(kind=task.kind, site=task.site, round=task.round, task_id=task.id, lacking=error.segments)
        except Exception as error:  # whatever it is, the round must be able to go on without this hospital
            reason = " ".join(str(error).split()).removeprefix(f"{task.site}: ") or type(error).__name__
            if not isinstance(error, (ValueError, OSError, RuntimeError, ArithmeticError)):
                reason = f"{type(error).__name__}: {reason}"
            return failed(task, reason)

    def _describe(self, task: DescribeTask, experiment: Experiment) -> Reply:
        images = self._images(task, experiment)
        train = images.splits["train"]
        pairs = epoch_pairs(experiment, train, experiment.seed)
        report = reuse(pairs, len(train.xray), len(train.ct), train.xray.patients, train.ct.patients)
        masks = experiment.federation.secure_aggregation
        key = bytes.fromhex(task.digest_key)
        held: set[str] = set()
        for split in images.splits.values():
            held.update(keyed_digests((*split.xray.digests, *split.ct.digests), key))
        results = Described(
            data=self._passport(experiment, images, report),
            overlap=tuple(position for position, digest in enumerate(task.test_digests) if digest in held),
            fingerprint=fingerprint(images),
            statistics=self._tell(task, experiment, images),
            software_version=__version__,
            run_key=self.masks.run_key(task, experiment, images, report.pairs) if masks else None,
        )
        return DescribeReply(site=task.site, round=task.round, results=results)

    def _train(self, task: TrainTask, experiment: Experiment) -> Reply:
        images, network, store, came, began = self._ready(task, experiment)
        phase = experiment.training.phases[task.phase]
        masks = experiment.federation.secure_aggregation
        if masks:
            self.masks.require(task, experiment, len(epoch_pairs(experiment, images.splits["train"], experiment.seed)))
        valid = self._score(task, experiment, network, store, images, "valid", not phase.trains_backbones)

        def report(stage: str, done: int, total: int, epoch: int, loss: float | None) -> None:
            facts: dict[str, Any] = {"epoch": epoch + 1, "epochs": phase.local_epochs, "loss": loss}
            self._emit(task, stage, done, total, **facts)

        half = algorithm_of(experiment.federation.strategy).hospital
        kept = self.own.own_part(task) if half.keeps else {}
        scope = scope_of(phase, task.stopped)
        trained = network.trained_segments(scope)
        private: PrivateUpdate | None = None
        if experiment.privacy is not None:
            private = self._private.train(task, experiment, network, store, images.splits["train"])
            fitted = private.fitted
        else:
            fitted = fit(
                network,
                store,
                images.splits["train"],
                images.splits["valid"],
                phase,
                task.learning_rate,
                derive_seed(experiment.seed, "fit", task.site, task.round),
                self._keep_optimizer,
                report,
                given=half.give(task.beside, kept, trained),
                stopped=task.stopped,
            )
        leaving = Leaving(private.update if private else {})
        if fitted.pairs and not private:
            update = network.layout.read(segments_of(_modalities(experiment, images), trained))
            gathered = network.gathered(scope, fitted.steps)
            leaving = half.leave(Trained(network.layout, came, began, update, kept, gathered))
            if half.keeps:
                self.own.keep_own_part(task, leaving.keep, half.keep_rounds)
        weights, packed = leaving.update, PackedUpdate({})
        if weights and experiment.federation.codec != "float32":
            packed = pack_update(experiment.federation, task, came, weights, network.layout, self.own)
            weights = {}
        told = None
        if masks and (weights or task.masking is not None):
            steps = private.moved if private else None
            # All parts of the phase, for whose sums it gives shares, also those of an encoder that it lacks.
            everywhere = network.trained_segments(scope, MODALITIES)
            told, masked = self.masks.masked(
                task, experiment, network.layout, everywhere, came, weights, images, fitted, steps
            )
            packed, weights = PackedUpdate(masked), {}
        by_patient = experiment.data.sample_by == "patient"
        train = images.splits["train"]
        counts = branch_counts(train, fitted, by_patient) if experiment.weighs_branches and not masks else {}
        results = UpdateTold(
            valid=Scored.model_validate_json(json.dumps(valid)),
            train=None if masks else FitTold(**asdict(fitted)),
            masked=told,
            **_labelled(images.splits["train"]),
            counts=BranchCounts.model_validate_json(json.dumps(counts)) if counts else None,
            peak_memory_mb=peak_memory_mb(),
            residual_lost=packed.residual_lost,
            private_steps=private.spent if private else None,
        )
        return TrainReply(
            site=task.site,
            round=task.round,
            results=results,
            weights=weights,
            packed=packed.packed,
            beside=leaving.beside if half.sends else {},
        )

    def _evaluate(self, task: EvaluateTask, experiment: Experiment) -> Reply:
        if "train" in task.splits and experiment.federation.secure_aggregation:
            raise ValueError("under masks no score of training images leaves: its counts would weigh the update")
        images, network, store, *_ = self._ready(task, experiment)
        if experiment.privacy is not None and "train" in task.splits:
            raise ValueError("the experiment is private for training patients, whose scores would tell of them")
        results: dict[str, Any] = {
            split: self._score(task, experiment, network, store, images, split, False)
            for split in _SCORED
            if split in task.splits
        }
        if "valid" in task.splits and (points := self._points(task, experiment)):
            seed, policy = self._pairs_seed(task, experiment, "valid"), self._scores_policy(experiment)
            results["valid_histograms"] = validation_histograms(network, store, images, points, seed, policy)
        if "test" in task.splits:
            results |= self._tests(task, experiment, network, store, images)
        return EvaluateReply(
            site=task.site, round=task.round, results=Evaluated.model_validate_json(json.dumps(results))
        )

    def _personalise(self, task: PersonaliseTask, experiment: Experiment) -> Reply:
        """The weights stay here."""
        images, network, store, *_ = self._ready(task, experiment)
        epochs = experiment.personalisation.epochs

        def report(stage: str, done: int, total: int, epoch: int, loss: float | None) -> None:
            self._emit(task, stage, done, total, epoch=epoch + 1, epochs=epochs, loss=loss)

        seed = derive_seed(experiment.seed, "personalise", task.site)
        told = own_model(network, store, images, seed, self._pairs_seed(task, experiment, "test"), report)
        if self._privacy is not None:
            told |= _labelled(images.splits["valid"])
        held = segments_of(_modalities(experiment, images))
        self.own.keep_model(task, network.layout.read(held) if told["kept"] else None)
        return PersonaliseReply(
            site=task.site, round=task.round, results=Personal.model_validate_json(json.dumps(told))
        )

    def _tests(
        self, task: EvaluateTask, experiment: Experiment, network: Network, store: FeatureStore, images: SiteImages
    ) -> dict[str, Any]:
        labels, threshold = experiment.labels, experiment.evaluation.threshold
        fixed = fixed_operating_points(labels.findings, labels.cancer_classes, threshold, "None were chosen.")
        return hospital_tests(
            network,
            store,
            images,
            self._points(task, experiment) or fixed,
            lambda split: self._pairs_seed(task, experiment, split),
            self._scores_policy(experiment),
            lambda done, total: self._emit(task, "validate", done, total),
        )

    @staticmethod
    def _points(task: EvaluateTask, experiment: Experiment) -> OperatingPoints | None:
        points, labels = task.operating_points, experiment.labels
        if points and ((*points.disease,) != labels.findings or (*points.cancer,) != labels.cancer_classes):
            raise ValueError("the task's thresholds are of other labels than the experiment's")
        return points

    @staticmethod
    def _pairs_seed(task: Task, experiment: Experiment, split: Split) -> int:
        return derive_seed(experiment.seed, "evaluation pairs", task.site, split)

    def _statistics(self, task: StatisticsTask, experiment: Experiment) -> Reply:
        """No network is built."""
        data = experiment.data.model_copy(update={"accept": (*experiment.data.accept, *_COUNTED_ANYWAY)})
        images = self._images(task, experiment.model_copy(update={"data": data}))
        told = Told(statistics=self._tell(task, experiment, images))
        return StatisticsReply(site=task.site, round=task.round, results=told)

    def _tell(self, task: DescribeTask | StatisticsTask, experiment: Experiment, images: SiteImages) -> SiteStatistics:
        policy = experiment.data.privacy if self._privacy is None else self._policy(experiment, self._privacy)
        if isinstance(task, DescribeTask) and experiment.federation.secure_aggregation:
            policy = at_least(policy, NOTHING_TOLD)
        nonce = bytes.fromhex(task.digest_key)
        return site_statistics(images, experiment.labels, policy, experiment.seed, nonce, self._duplicate_key)

    def _passport(self, experiment: Experiment, images: SiteImages, report: PairingReport) -> Passport:
        policy = EXACT if self._privacy is None else self._policy(experiment, self._privacy)
        if experiment.federation.secure_aggregation:  # how many pairs there are would say what weighs an update
            return passport(images, None, at_least(policy, NOTHING_TOLD), self._file_names)
        return passport(images, report, policy, self._file_names)

    def _scores_policy(self, experiment: Experiment) -> PrivacyConfig | None:
        return None if self._privacy is None else self._policy(experiment, self._privacy)

    def _policy(self, experiment: Experiment, own: PrivacyConfig) -> PrivacyConfig:
        return at_least(stricter(experiment.data.privacy, own), self._smallest_score)

    def _ready(
        self, task: ModelTask, experiment: Experiment
    ) -> tuple[SiteImages, Network, FeatureStore, Segments, Segments]:
        """The last two: the model that came with the task, and what the algorithm makes of it here."""
        images = self._images(task, experiment)
        self._emit(task, "model", 0, 1)
        modalities = _modalities(experiment, images)
        network, store = self._build_network(experiment, modalities)
        if task.layout != network.layout.digest_of(segments_of(modalities)):
            raise ValueError("the server's network has other layers than this site's; compare the FedThorax versions")
        came = self.segments.complete(task, network.layout.sizes)
        began = self.at_home(task, experiment, network, came)
        network.layout.write(began)
        return images, network, store, came, began

    def at_home(self, task: ModelTask, experiment: Experiment, network: Network, came: Segments) -> Segments:
        """What the algorithm makes here of the model that came."""
        arrive = algorithm_of(experiment.federation.strategy).hospital.arrive
        return arrive(network.layout, came, self.own.own_part(task)) if arrive else came

    def _images(self, task: Task, experiment: Experiment) -> SiteImages:
        def progress(done: int, total: int) -> None:
            self._emit(task, "load", done, total)

        try:
            return self._load_images(experiment, task.site, progress)
        except (ValueError, OSError) as error:
            if self._privacy is None:
                raise
            self._events.emit("note", text=f"told only here: {error}")
            words = f"its images cannot be used: {outside_words(error)}"
            raise ValueError(f"{words}; `fedthorax site check` there says which") from error

    def _score(
        self,
        task: Task,
        experiment: Experiment,
        network: Network,
        store: FeatureStore,
        images: SiteImages,
        split: Split,
        keep: bool,
    ) -> Scores:
        seed = self._pairs_seed(task, experiment, split)
        return score(
            network,
            store,
            images.splits[split],
            seed,
            keep,
            lambda done, total: self._emit(task, "validate", done, total),
        )

    def _emit(self, task: Task, stage: str, done: int, total: int, **facts: Any) -> None:
        self._events.emit("site", site=task.site, round=task.round, stage=stage, done=done, total=total, **facts)


def _modalities(experiment: Experiment, images: SiteImages) -> Modalities:
    """The encoders that this hospital needs."""
    return MODALITIES if experiment.whole_everywhere or not images.modalities else images.modalities


def _labelled(images: SplitImages) -> dict[str, int]:
    """Images with a known label, over which losses run; the gate looks at them."""
    xray = int((~np.isnan(images.xray.targets)).any(axis=1).sum())
    return {"labelled_xray": xray, "labelled_ct": int((images.ct.targets != UNKNOWN_CLASS).sum())}
