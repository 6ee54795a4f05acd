"""The hospitals of a run as the server asks and hears them: tasks out, replies in, and who failed, came late or odd."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.config import Experiment
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.events import EventLog
from fedthorax.common.ground.wording import number_of
from fedthorax.common.messages.message import Reply, Task
from fedthorax.common.messages.replies import REPLIES
from fedthorax.common.messages.tasks import ModelTask, TrainTask
from fedthorax.common.model.segments import MODALITIES
from fedthorax.server.broadcast import Broadcast
from fedthorax.server.channel import Channel, HospitalState, Passing
from fedthorax.server.held_segments import Holdings
from fedthorax.server.labels_told import check_labels
from fedthorax.server.ledger import Ledger
from fedthorax.server.record import RunRecord

AnyTask = TypeVar("AnyTask", bound=Task)


@dataclass
class Hospitals:
    """Whatever happens with a hospital is told to ``record``, ``events`` and ``audit``: nothing is lost in silence."""

    experiment: Experiment
    names: tuple[str, ...]
    channel: Channel
    record: RunRecord
    events: EventLog
    audit: AuditLog
    ledger: Ledger
    layout: str  # SegmentLayout.digest of the server's network
    sent: str  # the experiment as the hospitals get it, JSON
    holdings: Holdings = field(default_factory=Holdings)
    broadcast: Broadcast = field(default_factory=Broadcast)
    best: dict[str, str] = field(default_factory=dict)  # segment_sha256 of the best model so far
    left_out: tuple[str, ...] = ()  # of the present round, by the lead

    def __post_init__(self) -> None:
        self.channel.watch(self._notify)

    @property
    def required(self) -> int:
        """Hospitals without which a round is neither begun nor closed."""
        return min(self.experiment.required_sites, len(self.names) - len(self.left_out))

    def gather(self) -> None:
        """Wait until enough of them are connected. Raises TimeoutError that names who is not."""
        self.channel.gather(self.required)

    def joined(self) -> list[str]:
        """Those that have described their data and may train."""
        return [name for name in self.names if self.record.described(name) is not None]

    def modalities(self, site: str) -> tuple[str, ...]:
        """What the hospital's network has of X-ray and CT."""
        if self.experiment.whole_everywhere:
            return MODALITIES
        described = self.record.described(site)
        return (described.modalities if described else ()) or MODALITIES

    def task(self, kind: type[AnyTask], site: str, number: int, **arguments: Any) -> AnyTask:
        """``weights`` among the arguments are a whole model; what the hospital holds of it is left out on the way."""
        if issubclass(kind, ModelTask):
            arguments = self._of_model(site, kind is TrainTask, number, **arguments)
        return kind(
            site=site,
            round=number,
            experiment=self.sent,
            run=self.record.document["run"],
            deadline=time.time() + self.experiment.federation.round_timeout_s,
            acknowledged=self.ledger.told(site),
            audit_head=self.audit.head(),
            egress_head=self.ledger.newest_head(site),
            **arguments,
        )

    def _of_model(self, site: str, trains: bool, number: int, **arguments: Any) -> dict[str, Any]:
        federation, own_round, sha256 = self.experiment.federation, 0, arguments["sha256"]
        if algorithm_of(federation.strategy).hospital.keeps or federation.rounds_weights:
            own_round = self.record.newest_update(site, number - 1 if trains else number)
        return {
            "layout": self.layout,
            "held": self.holdings.held(site, sha256),
            "packed": self.broadcast.differences(sha256, lambda name, digest: self.holdings.holds(site, name, digest)),
            "packs": federation.codec != "float32",
            "best": {name: digest for name, digest in self.best.items() if name in sha256},
            "own_round": own_round,
            **arguments,
        }

    def replies(
        self, tasks: Sequence[Task], enough: Callable[[], bool], possible: Callable[[int], bool] = lambda left: True
    ) -> Iterator[Any]:
        """The good replies as they arrive, each of its task's kind (REPLIES); the other hospitals are named as failures
        of the newest round.

        ``enough`` is Channel's. Ends before its time when the number of replies that are left makes it not ``possible``
        to reach the aim.
        """
        self.events.emit("server", round=self.record.newest_round, stage="wait")
        by_site = {task.site: task for task in tasks}
        for left, reply in zip(range(len(tasks) - 1, -1, -1), self.channel.exchange(tasks, enough), strict=True):
            self._note_late()
            error = self._fault(by_site[reply.site], reply)
            if error is None:
                task = by_site[reply.site]
                if isinstance(task, ModelTask):
                    self.holdings.went_on_holding(reply.site, task.best)
                    self.holdings.took(reply.site, task.sha256)
                yield reply
            else:
                self.fail(reply.site, reply.kind, error)
            if not possible(left):
                break
        self._note_late()

    def fail(self, site: str, stage: str, reason: str) -> None:
        """A hospital has not done its part in the newest round."""
        self.record.failure(site, stage, reason)
        event = "reply refused" if reason.startswith("refused") else "site failed"
        self.audit.append(event, site=site, stage=stage, reason=reason)
        self.events.emit("failure", site=site, round=self.record.newest_round, reason=reason)

    def warn(self, site: str, reason: str) -> None:
        """Something about a hospital's part in the newest round is odd, and counts all the same."""
        self.record.warning(site, reason)
        self.audit.append("warning", site=site, round=self.record.newest_round, reason=reason)
        self.events.emit("note", text=f"{site}: {reason}")

    def require(self, answered: int, least: int = 0, *more: str) -> None:
        """Raise RuntimeError, with every hospital's reason, unless enough have answered in the newest round. ``more``
        are reasons that are no failure."""
        needed = max(self.required, least)
        if answered < needed:
            newest = self.record.rounds[-1]
            reasons = "; ".join([*(f"{failure['site']}: {failure['reason']}" for failure in newest["failures"]), *more])
            where = f"round {newest['round']}" if newest["round"] else "the start"
            raise RuntimeError(f"{where} needs {number_of(needed, 'hospital')}, but {answered} answered ({reasons})")

    def tell_absent(self, accepted: set[str]) -> None:
        """Losing a hospital is never silent, and least of all the largest one."""
        absent = [name for name in self.names if name not in accepted]
        if absent:
            largest = self.record.largest_site()
            words = ", ".join(f"{name}, the largest hospital" if name == largest else name for name in absent)
            self.events.emit("note", text=f"round {self.record.newest_round} went on without {words}")

    def _fault(self, task: Task, reply: Reply) -> str | None:
        """Why a reply does not count; its hospital's log is looked at in any case."""
        error = reply.error
        try:
            self.ledger.arrived(task, reply)
        except ValueError as broken:
            error = error or f"refused: {broken}"
        if reply.egress_head:
            self.record.document["sites"][reply.site]["egress_head"] = reply.egress_head
            self.audit.append("egress head", site=reply.site, head=reply.egress_head)
        if error is None and reply.lacking:
            error = f"the hospital lacks {', '.join(reply.lacking)} of the model"
        if error is None and not isinstance(reply, REPLIES[task.kind]):
            error = f"refused: expected a reply to {task.kind}, got one to {reply.kind}"
        if error is None:
            try:
                check_labels(reply, task, self.experiment)
            except ValueError as other:
                error = f"refused: {other}"
        return error

    def _note_late(self) -> None:
        for late in self.channel.late():
            task = late.task
            self.record.late(task.site, task.kind, task.round, late.duplicate, late.seconds)
            what = "came twice and counts once" if late.duplicate else "came late and is not used"
            facts = {"problem": late.problem} if late.problem else {}
            if late.problem:
                what += f"; it {late.problem}"
            self.audit.append(
                "late reply", site=task.site, stage=task.kind, round=task.round, duplicate=late.duplicate, **facts
            )
            self.events.emit("note", text=f"the reply of {task.site} to {task.kind} of round {task.round} {what}")

    def _notify(self, site: str, state: HospitalState | Passing) -> None:
        if isinstance(state, Passing):
            self.events.emit("site", site=site, round=self.record.newest_round, **vars(state))
            return
        self.events.emit("hospital", site=site, state=state, since=time.time())
        if state == "lost":
            newest = self.record.newest_round
            self.audit.append("lost on the way", site=site, round=newest)
            self.events.emit("note", text=f"the task of {site} or its reply was lost on the way and is sent again")
