"""The rounds of a run: broadcast, check, average, score, select; the same for a consortium and a simulation."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedthorax import __version__
from fedthorax.common.audit import AuditLog
from fedthorax.common.config import Experiment
from fedthorax.common.data.overlap import keyed_digests
from fedthorax.common.data.passport import fingerprint
from fedthorax.common.events import EventLog
from fedthorax.common.messages import Reply, Task, TaskKind
from fedthorax.common.model.segments import Weights, weights_digest
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import Predictions
from fedthorax.server.aggregation import FederatedAverage
from fedthorax.server.central import CentralData
from fedthorax.server.channel import Channel, HospitalState
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.delivery import Delivery, deliveries, outcome
from fedthorax.server.ledger import Ledger
from fedthorax.server.models import model_facts
from fedthorax.server.record import RunRecord
from fedthorax.server.schedule import RoundPlan, plan_round
from fedthorax.server.selection import Selection, selection_value
from fedthorax.server.update_check import check_counts, check_update
from fedthorax.server.update_norms import earlier_norms, step_norm, unusual
from fedthorax.server.version import check_version


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
    seconds: Callable[[], float]  # since the start of the run
    sent: str  # the experiment as the hospitals get it, JSON
    start: Checkpoint | None = None  # where a resumed run goes on
    selection: Selection = field(init=False)

    def __post_init__(self) -> None:
        start = self.start
        self.selection = start.selection if start else Selection(self.experiment.evaluation.selection_metric)
        self._ledger = Ledger(start.acknowledged, start.egress_heads) if start else Ledger()
        self._overlaps = {site: list(positions) for site, positions in start.overlaps.items()} if start else {}
        self.channel.watch(self._notify)

    def run(self) -> Predictions:
        """All rounds that are left and the closing scores; returns the predictions on the central test split.

        Raises RuntimeError when fewer hospitals than ``federation.min_sites`` answer, naming the others' reasons, and
        TimeoutError when fewer are connected.
        """
        if self.start is None:
            self.record.open_round(0, None)
            self._meet()
            weights: Weights = self.network.layout.read()
            self._close_round(0, weights, None, time.monotonic())
        else:
            weights = self.start.weights
            self.network.layout.write(weights)
            self._meet()
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
        last_round = self.record.newest_round
        best_round = self._best_round()
        best = Delivery(("best",), best_round, self.checkpoints.load(best_round).weights)
        last = Delivery(("last",), last_round, self.checkpoints.load(last_round).weights)
        facts = model_facts(self.experiment)
        for delivery in deliveries(best, last):
            digest = weights_digest(delivery.weights)
            tasks = [
                self._task(
                    "finish",
                    site,
                    delivery.round,
                    weights=delivery.weights,
                    model_sha256=digest,
                    outcome=outcome(delivery, site, self.record.document, facts),
                )
                for site in self.sites
            ]
            for reply in self._replies(tasks, lambda: True):
                names = list(delivery.names)
                self.audit.append("models delivered", site=reply.site, models=names, model_sha256=digest)

    def _meet(self) -> None:
        """Ask every hospital for its counts and for test images that it holds too."""
        document = self.record.document
        images = fingerprint(self.central.images)
        if document["central"]["fingerprint"] not in (None, images):
            raise ValueError(
                "the images in data.central have changed since the run began, so its scores would not compare; "
                "put them back, or start a new run"
            )
        document["central"]["fingerprint"] = images
        number = self.record.newest_round
        self.channel.gather(self._required)
        answered: set[str] = set()
        for reply in self._replies(self._describe_tasks(number), lambda: len(answered) >= self._required):
            if self._described(reply):
                answered.add(reply.site)
        self._require(len(answered), number)
        self._leave_out()
        if self.central.left_out:
            text = f"{len(self.central.left_out)} central test images also stand at a hospital and are left out"
            self.events.emit("note", text=f"{text} of the test")

    def _describe_tasks(self, number: int, only_new: bool = False) -> list[Task]:
        """For all hospitals, or for those that have not joined yet."""
        wanted = [site for site in self.sites if not only_new or self.record.described(site) is None]
        key = secrets.token_bytes(32)  # the digests mean nothing to who does not hold the image
        digests = keyed_digests(self.central.all_digests, key) if wanted else ()
        return [self._task("describe", site, number, test_digests=digests, digest_key=key.hex()) for site in wanted]

    def _described(self, reply: Reply) -> bool:
        """Take a hospital in that has described its data; False where it cannot take part."""
        try:
            check_version(reply.results["software_version"], __version__)
        except ValueError as error:
            self._fail(reply.site, "describe", str(error))
            return False
        came = reply.results["fingerprint"]
        known = self.record.document["sites"][reply.site]["fingerprint"]
        if known not in (None, came):
            text = f"the data of {reply.site} have changed since the run began"
            self.record.warning(reply.site, text)
            self.events.emit("note", text=text)
        self.record.describe(reply.site, reply.results["data"], came)
        self._overlaps[reply.site] = reply.results["overlap"]
        self.audit.append("site joined", site=reply.site, data_fingerprint=came)
        return True

    def _leave_out(self) -> None:
        """Take the images that hospitals hold too out of the central test split, as far as is known by now."""
        self.central.leave_out(self._overlaps)
        self.record.document["central"] |= {"data": self.central.describe(), "left_out": self.central.left_out}

    def _train_round(self, number: int, weights: Weights, plan: RoundPlan) -> Weights:
        started = time.monotonic()
        self.channel.gather(self._required)
        self.record.open_round(number, plan)
        segments = self.network.trained_segments(plan.phase.trainable)
        average = FederatedAverage({segment: self.network.layout.sizes[segment] for segment in segments})
        digest = weights_digest(weights)
        work = {"weights": weights, "phase": plan.phase_index, "learning_rate": plan.learning_rate}
        joined = [site for site in self.sites if self.record.described(site) is not None]
        training = [self._task("train", site, number, model_sha256=digest, **work) for site in joined]
        joining = self._describe_tasks(number, only_new=True)  # they train from the next round on
        accepted: set[str] = set()
        tasks, required = [*training, *joining], self._required
        for reply in self._replies(
            tasks, lambda: len(accepted) >= required, lambda left: len(accepted) + left >= required
        ):
            if reply.kind == "describe":
                if self._described(reply):
                    self._leave_out()
                    self._fail(reply.site, "train", f"joined in round {number}; trains from the next round on")
            elif self._take_update(reply, number, weights, segments, plan, average):
                accepted.add(reply.site)
        self._require(len(accepted), number)
        self._tell_absent(number, accepted)
        if not average.num_examples:
            raise RuntimeError("no hospital has an X-ray and a CT slice to train on, so there is nothing to average")
        self.events.emit("server", round=number, stage="aggregate")
        weights = {**weights, **average.result()}
        self.network.layout.write(weights)
        self._close_round(number, weights, plan, started)
        return weights

    def _take_update(
        self,
        reply: Reply,
        number: int,
        weights: Weights,
        segments: tuple[str, ...],
        plan: RoundPlan,
        average: FederatedAverage,
    ) -> bool:
        """Check an update and add it; False where it is refused."""
        site, norm = reply.site, None
        try:
            check_counts(reply, self.record.described(site) or {})
            if reply.num_pairs:
                check_update(reply, self.network.layout, segments)
                norm = step_norm(reply.weights, weights)
                self._check_norm(site, norm, plan.phase_index)
                average.add(reply.weights, reply.num_pairs)
        except ValueError as error:
            self._fail(site, "update", f"refused: {error}")
            return False
        self.record.site_scores(number - 1, site, "valid", reply.results["valid"])
        self.record.site_scores(number, site, "train", reply.results["train"])
        self.record.rounds[number]["sites"][site]["update_norm"] = norm
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
        self.record.warning(site, reason)
        self.audit.append("unusual update", site=site, round=self.record.newest_round, reason=reason)
        self.events.emit("note", text=f"{site}: {reason}")

    def _tell_absent(self, number: int, accepted: set[str]) -> None:
        """Losing a hospital is never silent, and least of all the largest one."""
        absent = [site for site in self.sites if site not in accepted]
        if absent:
            largest = self.record.largest_site()
            words = ", ".join(f"{site}, the largest hospital" if site == largest else site for site in absent)
            self.events.emit("note", text=f"round {number} went on without {words}")

    def _close_round(self, number: int, weights: Weights, plan: RoundPlan | None, started: float) -> None:
        """Score the present weights on the central validation split, select, and write everything down."""
        frozen = plan is None or plan.phase.trainable == "heads"
        scores = self.central.validate(self.network, self.store, frozen, self._progress(number))
        sent, received = self.channel.bytes_sent, self.channel.bytes_received
        self.record.close_round(scores, time.monotonic() - started, self.seconds(), sent, received)
        value = selection_value(scores, self.selection.metric)
        self.selection = self.selection.after(number, value, self.experiment.training.schedule.plateau_patience)
        self.record.select(self.selection)
        self._ledger.settle()
        checkpoint = Checkpoint(
            number,
            weights,
            self.selection,
            self.record.document["run"],
            self.record.document,
            self._ledger.acknowledged,
            self._ledger.egress_heads,
            self._overlaps,
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

    def _best_round(self) -> int:
        return self.record.newest_round if self.selection.best_round is None else self.selection.best_round

    def _close_run(self, last: Weights) -> Predictions:
        """The last model on every hospital's validation split, the best one on all test splits."""
        last_round, best_round = self.record.newest_round, self._best_round()
        best = last if best_round == last_round else self.checkpoints.load(best_round).weights
        valid_splits = ("valid", "test") if best_round == last_round else ("valid",)
        for reply in self._evaluate(last_round, last, valid_splits):
            self.record.site_scores(last_round, reply.site, "valid", reply.results["valid"])
            self.record.document["sites"][reply.site]["test"] = reply.results.get("test")
        if best_round != last_round:
            for reply in self._evaluate(last_round, best, ("test",)):
                self.record.document["sites"][reply.site]["test"] = reply.results["test"]
        self.network.layout.write(best)
        scores, predictions = self.central.final_test(self.network, self.store, False, self._progress(best_round))
        self.record.document["test"] = scores | {"round": best_round}
        self._ledger.settle()
        return predictions

    def _evaluate(self, number: int, weights: Weights, splits: tuple[str, ...]) -> Iterator[Reply]:
        digest = weights_digest(weights)
        tasks = [
            self._task("evaluate", site, number, weights=weights, model_sha256=digest, splits=splits)
            for site in self.sites
            if self.record.described(site) is not None
        ]
        yield from self._replies(tasks, lambda: True)

    def _task(self, kind: TaskKind, site: str, number: int, **arguments: Any) -> Task:
        return Task(
            kind,
            site,
            number,
            self.sent,
            layout=self.network.layout.digest,
            run=self.record.document["run"],
            deadline=time.time() + self.experiment.federation.round_timeout_s,
            acknowledged=self._ledger.told(site),
            audit_head=self.audit.head(),
            egress_head=self._ledger.newest_head(site),
            **arguments,
        )

    def _replies(
        self, tasks: list[Task], enough: Callable[[], bool], possible: Callable[[int], bool] = lambda left: True
    ) -> Iterator[Reply]:
        """The hospitals' good replies as they arrive; the others are named as failures of the newest round.

        Ends before its time when the number of replies that are left makes it not ``possible`` to reach the aim.
        """
        self.events.emit("server", round=self.record.newest_round, stage="wait")
        by_site = {task.site: task for task in tasks}
        for left, reply in zip(range(len(tasks) - 1, -1, -1), self.channel.exchange(tasks, enough), strict=True):
            self._note_late()
            error = reply.error
            try:
                self._ledger.arrived(by_site[reply.site], reply)
            except ValueError as broken:
                error = error or f"refused: {broken}"
            if reply.egress_head:
                self.record.document["sites"][reply.site]["egress_head"] = reply.egress_head
                self.audit.append("egress head", site=reply.site, head=reply.egress_head)
            missing = _missing(reply)
            if error is None and missing:
                error = f"the reply lacks {', '.join(missing)}"
            if error is None:
                yield reply
            else:
                self._fail(reply.site, reply.kind, error)
            if not possible(left):
                break
        self._note_late()

    def _note_late(self) -> None:
        for late in self.channel.late():
            task = late.task
            self.record.late(task.site, task.kind, task.round, late.duplicate, late.seconds)
            what = "came twice and counts once" if late.duplicate else "came late and is not used"
            self.audit.append("late reply", site=task.site, stage=task.kind, round=task.round, duplicate=late.duplicate)
            self.events.emit("note", text=f"the reply of {task.site} to {task.kind} of round {task.round} {what}")

    def _notify(self, site: str, state: HospitalState) -> None:
        self.events.emit("hospital", site=site, state=state, since=time.time())

    def _fail(self, site: str, stage: str, reason: str) -> None:
        self.record.failure(site, stage, reason)
        event = "reply refused" if reason.startswith("refused") else "site failed"
        self.audit.append(event, site=site, stage=stage, reason=reason)
        self.events.emit("failure", site=site, round=self.record.newest_round, reason=reason)

    @property
    def _required(self) -> int:
        return min(self.experiment.required_sites, len(self.sites))

    def _require(self, answered: int, number: int) -> None:
        if answered < self._required:
            failures = self.record.rounds[-1]["failures"]
            reasons = "; ".join(f"{failure['site']}: {failure['reason']}" for failure in failures)
            where = f"round {number}" if number else "the start"
            raise RuntimeError(f"{where} needs {self._required} hospitals, but {answered} answered ({reasons})")

    def _progress(self, number: int) -> Callable[[int, int], None]:
        return lambda done, total: self.events.emit("server", round=number, stage="evaluate", done=done, total=total)


_RESULTS = {
    "describe": ("data", "overlap", "fingerprint", "software_version"),
    "train": ("valid", "train"),
    "evaluate": (),
    "finish": (),
}


def _missing(reply: Reply) -> list[str]:
    results: Mapping[str, Any] = reply.results
    return [name for name in _RESULTS[reply.kind] if name not in results]
