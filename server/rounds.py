"""The rounds of a run: broadcast, check, average, score, select; the same for a consortium and a simulation."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import Aggregate, RoundShape, State, Update
from fedthorax.common.config import Experiment
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.events import EventLog
from fedthorax.common.messages import Reply
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.model.segments import (
    MODALITIES,
    Weights,
    segment_sha256,
    segments_of,
    weights_digest,
)
from fedthorax.common.training.branch_counts import parts_of
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import Predictions
from fedthorax.server.central import CentralData
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.delivery import deliver
from fedthorax.server.holdings import named_model
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.joining import Joining
from fedthorax.server.own_subgroups import check_own_subgroups
from fedthorax.server.own_thresholds import check_own_thresholds
from fedthorax.server.packed_update import unpacked
from fedthorax.server.pooling import Pooling
from fedthorax.server.record import RunRecord
from fedthorax.server.schedule import RoundPlan, plan_round
from fedthorax.server.selection import Selection, selection_value
from fedthorax.server.update_check import (
    check_beside,
    check_branch_counts,
    check_counts,
    check_update,
)
from fedthorax.server.update_norms import earlier_norms, step_norm, unusual


@dataclass
class Rounds:
    """The server's side of one run; everything it measures goes into ``record``."""

    experiment: Experiment
    hospitals: Hospitals
    record: RunRecord
    events: EventLog
    audit: AuditLog
    checkpoints: Checkpoints
    network: Network
    store: FeatureStore
    central: CentralData
    write_record: Callable[[], None]  # called after every round
    seconds: Callable[[], float]  # since the start of the run
    start: Checkpoint | None = None  # where a resumed run goes on
    selection: Selection = field(init=False)

    def __post_init__(self) -> None:
        start = self.start
        self.selection = start.selection if start else Selection(self.experiment.evaluation.selection_metric)
        self._pooling = Pooling(self.experiment.labels, self.experiment.evaluation.histogram_bins)
        self._algorithm = algorithm_of(self.experiment.federation.strategy)
        self._strategy_state: State = start.strategy_state if start else {}
        self._joining = Joining(self.hospitals, self.central, dict(start.overlaps) if start else {})

    def run(self) -> Predictions:
        """All rounds that are left and the closing scores; returns the predictions on the central test split.

        Raises RuntimeError when fewer hospitals than ``federation.min_sites`` answer, naming the others' reasons, and
        TimeoutError when fewer are connected.
        """
        if self.start is None:
            self.record.open_round(0, None)
            self._joining.meet()
            weights: Weights = self.network.layout.read()
            self._close_round(0, weights, None, time.monotonic())
        else:
            weights = self.start.weights
            self.network.layout.write(weights)
            best = self._best_round()
            self._remember_best(weights if best == self.start.round else self.checkpoints.load(best).weights)
            self._joining.meet()
        training, patience = self.experiment.training, self.experiment.federation.patience
        for number in range(self.record.newest_round + 1, training.num_rounds + 1):
            if patience and self.selection.rounds_since_best >= patience:
                self.record.document["stopped_early"] = True
                self.events.emit("note", text=f"stopped early: no better round for {patience} rounds")
                break
            plan = plan_round(training, number, self.selection.plateau_reductions)
            weights = self._train_round(number, weights, plan)
        return self._close_run(weights)

    def deliver(self) -> None:
        """Give every hospital the best and the last model and its results; who does not take them is a failure."""
        deliver(self.hospitals, self.checkpoints, self.hospitals.names)

    def _train_round(self, number: int, weights: Weights, plan: RoundPlan) -> Weights:
        started = time.monotonic()
        self.hospitals.gather()
        self.record.open_round(number, plan)
        segments = self.network.trained_segments(plan.phase.trainable)
        aggregate = self._algorithm.aggregate(self.experiment.federation.strategy_settings, self._shape(segments))
        try:
            self._gather_updates(number, weights, segments, plan, aggregate)
            self.events.emit("server", round=number, stage="aggregate")
            found, self._strategy_state = aggregate.result(weights, self._strategy_state)
        finally:
            aggregate.close()
        before, weights = weights, {**weights, **found}
        if self._algorithm.measures_batch_norm:
            self.network.layout.write(weights)
            self.central.normalise(self.network, self.store)
            weights = {**weights, **self.network.layout.read(segments)}
        weights = self.hospitals.broadcast.following(before, weights)
        self.network.layout.write(weights)
        self._close_round(number, weights, plan, started)
        return weights

    def _gather_updates(
        self, number: int, weights: Weights, segments: tuple[str, ...], plan: RoundPlan, aggregate: Aggregate
    ) -> None:
        work = {"phase": plan.phase_index, "learning_rate": plan.learning_rate}
        ask, required = self.hospitals, self.hospitals.required
        model = named_model(weights)
        models = self._models(model)
        told = self._algorithm.tell(self._strategy_state)
        training = []
        for site in ask.joined():
            own = models(site)
            beside = {name: values for name, values in told.items() if name in own["weights"]}
            training.append(ask.task("train", site, number, **own, beside=beside, **work))
        tasks = [*training, *self._joining.newcomers()]  # who joins now trains from the next round on
        accepted: set[str] = set()
        for reply in ask.replies(
            tasks, lambda: len(accepted) >= required, lambda left: len(accepted) + left >= required
        ):
            if reply.kind == "describe":
                if self._joining.accept(reply):
                    self._joining.leave_out()
                    ask.fail(reply.site, "train", f"joined in round {number}; trains from the next round on")
            elif self._take_update(reply, number, model, segments, plan, aggregate):
                accepted.add(reply.site)
        ask.require(len(accepted))
        ask.tell_absent(accepted)
        if not aggregate.num_examples:
            raise RuntimeError("no hospital has an X-ray and a CT slice to train on, so there is nothing to average")

    def _shape(self, segments: tuple[str, ...]) -> RoundShape:
        layout, findings = self.network.layout, len(self.experiment.labels.findings)
        parts = parts_of(layout, segments, findings) if self.experiment.weighs_branches else None
        statistics = {segment: layout.statistics(segment) for segment in segments}
        batch_norm = {segment: layout.batch_norm(segment) for segment in segments}
        described = (self.record.described(site) or {} for site in self.hospitals.joined())
        pairs = sum((data.get("pairing") or {}).get("pairs") or 0 for data in described)
        return RoundShape(
            {segment: layout.sizes[segment] for segment in segments}, parts, statistics, batch_norm, pairs
        )

    def _models(self, whole: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
        """By hospital what a task says about a named model: only the segments that its own network has."""
        layout, known = self.network.layout, dict[tuple[str, ...], dict[str, Any]]()

        def model(site: str) -> dict[str, Any]:
            modalities = self.hospitals.modalities(site)
            if modalities == MODALITIES:
                return whole
            if modalities not in known:
                names = segments_of(modalities)
                parts = {key: {name: whole[key][name] for name in names} for key in ("weights", "sha256")}
                known[modalities] = {**whole, **parts, "layout": layout.digest_of(names)}
            return known[modalities]

        return model

    def _take_update(
        self,
        reply: Reply,
        number: int,
        model: dict[str, Any],
        segments: tuple[str, ...],
        plan: RoundPlan,
        aggregate: Aggregate,
    ) -> bool:
        """Unpack an update, check it, add it; False where it is refused. ``model`` is the named one it started from."""
        site, norm, weights = reply.site, None, model["weights"]
        try:
            reply = unpacked(reply, self.experiment.federation.codec, weights, model["sha256"])
            check_counts(reply, self.record.described(site) or {})
            if reply.num_pairs:
                check_update(reply, self.network.layout, segments_of(self.hospitals.modalities(site), segments))
                if self.experiment.weighs_branches:
                    check_branch_counts(reply, self.record.described(site) or {}, self.experiment.labels)
                check_beside(reply, self.network.layout, self._algorithm.hospital.sends)
                norm = step_norm(reply.weights, weights)
                self._check_norm(site, norm, plan.phase_index)
                values, beside = dict(reply.weights), dict(reply.beside)
                if not self.experiment.weighs_branches:
                    # Weighed by pairs alone, a hospital without an encoder votes for the one that there is.
                    values = {segment: values.get(segment, weights[segment]) for segment in segments}
                    if beside:
                        beside = {name: beside.get(name, np.zeros_like(value)) for name, value in values.items()}
                loss = (reply.results["valid"] or {}).get("loss")
                aggregate.add(Update(site, values, reply.num_pairs, reply.counts, loss, beside))
        except ValueError as error:
            self.hospitals.fail(site, "update", f"refused: {error}")
            return False
        self.record.site_scores(number - 1, site, "valid", reply.results["valid"])
        self.record.site_scores(number, site, "train", reply.results["train"])
        self.record.rounds[number]["sites"][site]["update_norm"] = norm
        if reply.results.get("residual_lost"):
            self.hospitals.warn(site, "it has lost what rounding left out of its earlier updates; nothing else is lost")
        self.record.site_memory(reply.results.get("peak_memory_mb"))
        self.audit.append(
            "update received", site=site, round=number, pairs=reply.num_pairs, sha256=weights_digest(reply.weights)
        )
        if not reply.num_pairs:
            self.events.emit("note", text=f"{site} has no pair to train on and gave no update")
        return True

    def _check_norm(self, site: str, norm: float, phase_index: int) -> None:
        federation = self.experiment.federation
        if federation.unusual_updates == "off":
            return
        others = earlier_norms(self.record.rounds, phase_index)
        reason = unusual(norm, others, federation.unusual_deviations)
        if reason is None:
            return
        if federation.unusual_updates == "refuse":
            raise ValueError(reason)
        self.hospitals.warn(site, reason)

    def _close_round(self, number: int, weights: Weights, plan: RoundPlan | None, started: float) -> None:
        """Score the present weights on the central validation split, select, and write everything down."""
        frozen = plan is None or plan.phase.trainable == "heads"
        self.events.emit("server", round=number, stage="evaluate")
        scores = self.central.validate(self.network, self.store, frozen, self._progress(number))
        channel, ledger = self.hospitals.channel, self.hospitals.ledger
        self.record.close_round(
            scores, time.monotonic() - started, self.seconds(), channel.bytes_sent, channel.bytes_received
        )
        value = selection_value(scores, self.selection.metric)
        self.selection = self.selection.after(number, value, self.experiment.training.schedule.plateau_patience)
        self.record.select(self.selection)
        if self._best_round() == number:
            self._remember_best(weights)
        ledger.settle()
        checkpoint = Checkpoint(
            number,
            weights,
            self.selection,
            self.record.document["run"],
            self.record.document,
            ledger.acknowledged,
            ledger.egress_heads,
            self._joining.overlaps,
            self.hospitals.holdings.by_site,
            self._strategy_state,
            self.hospitals.broadcast.state,
        )
        self.checkpoints.save(checkpoint)
        self.audit.append("round closed", round=number, model_sha256=weights_digest(weights))
        self.write_record()
        entry = self.record.rounds[-1]
        self.events.emit(
            "round",
            round=number,
            rounds=self.experiment.training.num_rounds,
            central=scores,
            failures=entry["failures"],
            seconds=entry["seconds"],
        )

    def _remember_best(self, weights: Weights) -> None:
        """The hospitals go on holding the best model: the end of the run needs it."""
        self.hospitals.best = {segment: segment_sha256(values) for segment, values in weights.items()}

    def _best_round(self) -> int:
        return self.record.newest_round if self.selection.best_round is None else self.selection.best_round

    def _close_run(self, last: Weights) -> Predictions:
        """The last model on every hospital's validation split, the best one on all test splits."""
        last_round, best_round = self.record.newest_round, self._best_round()
        best = last if best_round == last_round else self.checkpoints.load(best_round).weights
        self.network.layout.write(best)
        progress = self._progress(best_round)
        points = self.central.operating_points(self.network, self.store, False, progress)
        self.record.document["operating_points"] = {"round": best_round, **points.model_dump(mode="json")}
        valid_splits = ("valid", "test") if best_round == last_round else ("valid",)
        for reply in self._evaluate(last_round, last, valid_splits, points):
            self.record.site_scores(last_round, reply.site, "valid", reply.results["valid"])
            self._site_tests(reply)
        if best_round != last_round:
            for reply in self._evaluate(best_round, best, ("test",), points):
                self._site_tests(reply)
        self.network.layout.write(best)  # in a run in one place the hospitals have used the same network
        scores, predictions = self.central.final_test(self.network, self.store, points, False, progress)
        self.record.document["test"] = scores | {"round": best_round}
        self.record.document["test_with_duplicates"] = self.central.test_with_duplicates(
            scores, self.network, self.store, points, False, progress
        )
        self._personalise(best_round, best)
        self.hospitals.ledger.settle()
        return predictions

    def _personalise(self, number: int, weights: Weights) -> None:
        if not self.experiment.personalisation.fine_tune:
            return
        ask, models = self.hospitals, self._models(named_model(weights))
        tasks = [ask.task("personalise", site, number, **models(site)) for site in ask.joined()]
        for reply in ask.replies(tasks, lambda: True):
            self.record.personal(reply.site, reply.results["personal"])

    def _site_tests(self, reply: Reply) -> None:
        results = reply.results
        try:
            check_own_thresholds(results, reply.site, self.experiment.labels)
        except ValueError as error:
            self.hospitals.warn(reply.site, f"its own thresholds are not taken: {error}")
            results = {**results, "operating_points": None, "test_at_own_thresholds": None}
        try:
            check_own_subgroups(results.get("subgroups"), self.experiment.labels)
        except ValueError as error:
            self.hospitals.warn(reply.site, f"its scores by subgroup are not taken: {error}")
            results = {**results, "subgroups": None}
        self.record.site_tests(reply.site, results)
        if "histograms" in reply.results:
            try:
                self._pooling.add(reply.site, reply.results["histograms"])
            except ValueError as error:
                self.hospitals.warn(reply.site, f"its test images are not among the pooled ones: {error}")
            self.record.document["pooled"] = self._pooling.document()

    def _evaluate(
        self, number: int, weights: Weights, splits: tuple[str, ...], points: OperatingPoints
    ) -> Iterator[Reply]:
        ask, models = self.hospitals, self._models(named_model(weights))
        work = {"splits": splits, "operating_points": points.model_dump(mode="json")}
        tasks = [ask.task("evaluate", site, number, **models(site), **work) for site in ask.joined()]
        yield from ask.replies(tasks, lambda: True)

    def _progress(self, number: int) -> Callable[[int, int], None]:
        return lambda done, total: self.events.emit("server", round=number, stage="evaluate", done=done, total=total)
