"""The rounds of a run: broadcast, check, average, score, select; the same for a consortium and a simulation."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedthorax.common.audit import AuditLog
from fedthorax.common.config import Experiment
from fedthorax.common.data.overlap import keyed_digests
from fedthorax.common.events import EventLog
from fedthorax.common.messages import Reply, Task, TaskKind
from fedthorax.common.model.segments import Weights, weights_digest
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import Predictions
from fedthorax.server.aggregation import FederatedAverage
from fedthorax.server.central import CentralData
from fedthorax.server.channel import Channel
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.record import RunRecord
from fedthorax.server.schedule import RoundPlan, plan_round
from fedthorax.server.selection import Selection, selection_value
from fedthorax.server.statistics import gather_statistics
from fedthorax.server.update_check import check_update


@dataclass
class Rounds:
    """The server's side of one run; everything it measures goes into ``record``."""

    experiment: Experiment
    sites: tuple[str, ...]
    channel: Channel
    record: RunRecord
    events: EventLog
    audit: AuditLog
    checkpoints: Checkpoints
    network: Network
    store: FeatureStore
    central: CentralData
    write_record: Callable[[], None]  # called after every round
    selection: Selection

    def run(self) -> Predictions:
        """All rounds and the closing scores; returns the predictions on the central test split.

        Raises RuntimeError when fewer hospitals than ``federation.min_sites`` answer, naming the others' reasons.
        """
        self._meet()
        weights: Weights = self.network.layout.read()
        self._close_round(0, weights, None, time.monotonic())
        training, patience = self.experiment.training, self.experiment.federation.patience
        for number in range(1, training.num_rounds + 1):
            plan = plan_round(training, number, self.selection.plateau_reductions)
            weights = self._train_round(number, weights, plan)
            if patience and self.selection.rounds_since_best >= patience and number < training.num_rounds:
                self.record.document["stopped_early"] = True
                self.events.emit("note", text=f"stopped early: no better round for {patience} rounds")
                break
        return self._close_run(weights)

    def _meet(self) -> None:
        """Ask every hospital for its counts and for test images that it holds too."""
        key = secrets.token_bytes(32)  # the digests mean nothing to who does not hold the image
        digests = keyed_digests(self.central.digests(), key)
        self.record.open_round(0, None)
        overlaps, told = {}, {}
        for reply in self._replies("describe", 0, test_digests=digests, digest_key=key.hex()):
            entry = self.record.document["sites"][reply.site]
            entry["data"], entry["fingerprint"] = reply.results["data"], reply.results["fingerprint"]
            overlaps[reply.site], told[reply.site] = reply.results["overlap"], reply.results.get("statistics")
            self.audit.append("site joined", site=reply.site, data_fingerprint=reply.results["fingerprint"])
        self._require(len(overlaps), 0)
        self.record.document["statistics"] = gather_statistics(self.experiment, self.sites, told).document()
        self.central.leave_out(overlaps)
        left_out = self.central.left_out
        if left_out:
            text = f"{len(left_out)} central test images also stand where a model is trained or selected: scored apart"
            self.events.emit("note", text=text)
        self.record.document["central"] = {"data": self.central.describe(), "left_out": left_out}

    def _train_round(self, number: int, weights: Weights, plan: RoundPlan) -> Weights:
        started = time.monotonic()
        self.record.open_round(number, plan)
        segments = self.network.trained_segments(plan.phase.trainable)
        average = FederatedAverage({segment: self.network.layout.sizes[segment] for segment in segments})
        answered = examples = 0
        arguments = {"weights": weights, "phase": plan.phase_index, "learning_rate": plan.learning_rate}
        for reply in self._replies("train", number, **arguments):
            try:
                if reply.num_pairs:
                    check_update(reply, self.network.layout, segments)
                    average.add(reply.weights, reply.num_pairs)
            except ValueError as error:
                self._fail(reply.site, "update", f"refused: {error}")
                continue
            answered += 1
            examples += reply.num_pairs
            self.record.site_scores(number - 1, reply.site, "valid", reply.results["valid"])
            self.record.site_scores(number, reply.site, "train", reply.results["train"])
            self.record.site_memory(reply.results.get("peak_memory_mb"))
            self.audit.append(
                "update received",
                site=reply.site,
                round=number,
                pairs=reply.num_pairs,
                sha256=weights_digest(reply.weights),
            )
            if not reply.num_pairs:
                self.events.emit("note", text=f"{reply.site} has no pair to train on and gave no update")
        self._require(answered, number)
        if not examples:
            raise RuntimeError("no hospital has an X-ray and a CT slice to train on, so there is nothing to average")
        self.events.emit("server", round=number, stage="aggregate")
        weights = {**weights, **average.result()}
        self.network.layout.write(weights)
        self._close_round(number, weights, plan, started)
        return weights

    def _close_round(self, number: int, weights: Weights, plan: RoundPlan | None, started: float) -> None:
        """Score the present weights on the central validation split, select, and write everything down."""
        frozen = plan is None or plan.phase.trainable == "heads"
        scores = self.central.validate(self.network, self.store, frozen, self._progress(number))
        channel = self.channel
        self.record.close_round(scores, time.monotonic() - started, channel.bytes_sent, channel.bytes_received)
        value = selection_value(scores, self.selection.metric)
        self.selection = self.selection.after(number, value, self.experiment.training.schedule.plateau_patience)
        self.record.select(self.selection)
        self.checkpoints.save(number, weights, self.selection)
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

    def _close_run(self, last: Weights) -> Predictions:
        """The last model on every hospital's validation split, the best one on all test splits."""
        last_round = self.record.rounds[-1]["round"]
        best_round = last_round if self.selection.best_round is None else self.selection.best_round
        best = last if best_round == last_round else self.checkpoints.load(best_round)[0]
        valid_splits = ("valid", "test") if best_round == last_round else ("valid",)
        for reply in self._replies("evaluate", last_round, weights=last, splits=valid_splits):
            self.record.site_scores(last_round, reply.site, "valid", reply.results["valid"])
            self.record.site_tests(reply.site, reply.results)
        if best_round != last_round:
            for reply in self._replies("evaluate", last_round, weights=best, splits=("test",)):
                self.record.site_tests(reply.site, reply.results)
        self.network.layout.write(best)
        scores, predictions = self.central.final_test(self.network, self.store, False, self._progress(best_round))
        self.record.document["test"] = scores | {"round": best_round}
        self.record.document["test_with_duplicates"] = self.central.test_with_duplicates(
            scores, self.network, self.store, False, self._progress(best_round)
        )
        return predictions

    def _replies(self, kind: TaskKind, number: int, **arguments: Any) -> Iterator[Reply]:
        """The hospitals' good replies as they arrive; the others are named as failures of the newest round."""
        self.events.emit("server", round=number, stage="wait")
        experiment = self.experiment.model_dump_json()
        layout = self.network.layout.digest
        tasks = [Task(kind, site, number, experiment, layout=layout, **arguments) for site in self.sites]
        for reply in self.channel.exchange(tasks):
            missing = _missing(reply)
            if reply.error is not None or missing:
                self._fail(reply.site, kind, reply.error or f"the reply lacks {', '.join(missing)}")
            else:
                yield reply

    def _fail(self, site: str, stage: str, reason: str) -> None:
        self.record.failure(site, stage, reason)
        self.audit.append("site failed", site=site, stage=stage, reason=reason)
        self.events.emit("failure", site=site, round=self.record.rounds[-1]["round"], reason=reason)

    def _require(self, answered: int, number: int) -> None:
        required = min(self.experiment.required_sites, len(self.sites))
        if answered < required:
            failures = self.record.rounds[-1]["failures"]
            reasons = "; ".join(f"{failure['site']}: {failure['reason']}" for failure in failures)
            where = f"round {number}" if number else "the start"
            raise RuntimeError(f"{where} needs {required} hospitals, but {answered} answered ({reasons})")

    def _progress(self, number: int) -> Callable[[int, int], None]:
        return lambda done, total: self.events.emit("server", round=number, stage="evaluate", done=done, total=total)


_RESULTS = {"describe": ("data", "overlap", "fingerprint"), "train": ("valid", "train"), "evaluate": ()}


def _missing(reply: Reply) -> list[str]:
    results: Mapping[str, Any] = reply.results
    return [name for name in _RESULTS[reply.kind] if name not in results]
