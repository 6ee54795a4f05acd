"""What a run ends with: the last model on every hospital's validation split, the selected one on all test splits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fedthorax.common.messages.replies import EvaluateReply
from fedthorax.common.messages.tasks import EvaluateTask, PersonaliseTask
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.scores import Histograms
from fedthorax.common.model.segments import Weights
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import Predictions
from fedthorax.server.central import CentralData
from fedthorax.server.claims import check_histograms
from fedthorax.server.held_segments import models_by_hospital, named_model
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.pooling import Pooling
from fedthorax.server.record import written


@dataclass
class Closing:
    """Scores the models of a finished run at the hospitals and at the centre, into the run's record."""

    hospitals: Hospitals
    network: Network
    store: FeatureStore
    central: CentralData

    def __post_init__(self) -> None:
        self.experiment, self.record = self.hospitals.experiment, self.hospitals.record

    def run(self, last: Weights, best_round: int, best: Weights, progress: Progress) -> Predictions:
        """What the selected model says of the central test split; ``last`` is the model of the newest round."""
        if best_round != self.record.newest_round:
            for reply in self._evaluate(self.record.newest_round, last, "valid"):
                self._site_valid(self.record.newest_round, reply)
        points = self._operating_points(best_round, best, progress)
        self.record.document["operating_points"] = {"round": best_round, **points.model_dump(mode="json")}
        pooling = self._no_pooling()
        for reply in self._evaluate(best_round, best, "test", points):
            self._site_tests(reply, pooling)
        self.network.layout.write(best)  # in a run in one place the hospitals have used the same network
        scores, predictions = self.central.final_test(self.network, self.store, points, progress)
        self.record.document["test"] = scores | {"round": best_round}
        self.record.document["test_with_duplicates"] = self.central.test_with_duplicates(
            scores, self.network, self.store, points, progress
        )
        self._personalise(best_round, best)
        self.hospitals.ledger.settle()
        return predictions

    def _operating_points(self, number: int, weights: Weights, progress: Progress) -> OperatingPoints:
        """Chosen on the centre's validation images and the hospitals', who count theirs in bins."""
        self.network.layout.write(weights)
        mine = self.central.valid_in_use(self.network, self.store, progress)
        told = self._no_pooling()
        for reply in self._evaluate(number, weights, "valid", self.central.operating_points(mine)):
            if number == self.record.newest_round:
                self._site_valid(number, reply)
            if (histograms := self._counted(reply, "valid")) is not None:
                told.add(reply.site, histograms)
        return self.central.operating_points(mine, told.told())

    def _personalise(self, number: int, weights: Weights) -> None:
        if not self.experiment.personalisation.fine_tune:
            return
        ask, models = self.hospitals, self._models(weights)
        tasks = [ask.task(PersonaliseTask, site, number, **models(site)) for site in ask.joined()]
        for reply in ask.replies(tasks, lambda: True):
            self.record.personal(reply.site, written(reply.told))

    def _counted(self, reply: EvaluateReply, split: Literal["valid", "test"]) -> Histograms | None:
        """The hospital's histograms; None where it has none, or counts more images than it can have."""
        histograms, federation = reply.told.histograms, self.experiment.federation
        if split == "valid":
            histograms = reply.told.valid_histograms
        must_say = not federation.secure_aggregation  # masks hide all counts
        try:
            check_histograms(histograms, self.record.passport(reply.site), split, federation.largest_hospital, must_say)
        except ValueError as error:
            self.hospitals.warn(
                reply.site, f"its {split} images have no part in common thresholds and figures: {error}"
            )
            return None
        return histograms

    def _site_valid(self, number: int, reply: EvaluateReply) -> None:
        if reply.told.valid is not None:
            self.record.site_scores(number, reply.site, "valid", written(reply.told.valid))

    def _site_tests(self, reply: EvaluateReply, pooling: Pooling) -> None:
        self.record.site_tests(reply.site, written(reply.told))
        if (histograms := self._counted(reply, "test")) is not None:
            pooling.add(reply.site, histograms)
            self.record.document["pooled"] = pooling.document()

    def _evaluate(
        self, number: int, weights: Weights, split: str, points: OperatingPoints | None = None
    ) -> Iterator[EvaluateReply]:
        ask, models = self.hospitals, self._models(weights)
        work = {"splits": (split,), "operating_points": points}
        tasks = [ask.task(EvaluateTask, site, number, **models(site), **work) for site in ask.joined()]
        yield from ask.replies(tasks, lambda: True)

    def _models(self, weights: Weights) -> Callable[[str], dict[str, Any]]:
        return models_by_hospital(named_model(weights), self.network.layout, self.hospitals.modalities)

    def _no_pooling(self) -> Pooling:
        return Pooling(self.experiment.labels, self.experiment.evaluation.histogram_bins)
