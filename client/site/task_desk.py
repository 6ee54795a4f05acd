"""The site worker's own work, apart from how tasks reach it: one task at a time, measured against site.yaml, written
down in the egress log, kept until the server has the reply.
"""

import contextlib
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fedthorax.client.site.carriage import Carriage, GoneError
from fedthorax.client.site.durable import ReplyStore
from fedthorax.client.site.egress import EgressLog
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.limits import refusals
from fedthorax.client.site.participation import Participation, run_summary
from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.trust import trusted
from fedthorax.client.site.withheld import allowed_here, limits_here, what_may_leave
from fedthorax.common.config import Experiment
from fedthorax.common.config.experiment import require_modalities
from fedthorax.common.config.load import parse_experiment
from fedthorax.common.disclosure.sentences import DISK
from fedthorax.common.ground.events import EventLog
from fedthorax.common.ground.machine import collector_off, num_cpus
from fedthorax.common.ground.strict_json import canonical_json
from fedthorax.common.messages.message import Reply, Task, failed
from fedthorax.common.messages.reading import with_segments
from fedthorax.common.messages.replies import DecisionReply
from fedthorax.common.messages.results import Decided
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import DecisionTask, FinishTask
from fedthorax.common.privacy.budget import Budget
from fedthorax.common.wire.parcel import Parcel

MOST_ATTEMPTS = 3  # of a task that ends the worker each time
APPROVAL_POLL_S = 0.5
MOST_EVENTS_BYTES = 64 << 20  # of progress, before a new run begins the file anew
CANNOT_WRITE = "what leaves cannot be written down, so nothing does:"
OWN_DISK = "the hospital's own disk takes no file:"
NO_RULE = "something in the reply has no rule of what may leave, so nothing of it does"
_KEPT = (
    "train",
    "evaluate",
    "personalise",
    "statistics",
)  # replies that cost enough to be kept; the others are quick to make again


class RestartNeeded(Exception):  # noqa: N818  not an error: the supervisor starts a new process
    """This process cannot do the task, a new one can."""


class OthersWait(Exception):  # noqa: N818  not an error: the task comes to its turn again
    """A person has yet to decide on the task, and there are others to do."""


class TaskStopped(RuntimeError):  # noqa: N818  a decision, not a fault
    """The task is not worth going on with: its deadline has passed, or the hospital does not want it any more."""


@dataclass
class Job:
    """A task on its way. ``reply`` is None until ``done``, and stays None where the process has to be restarted.

    ``deadline`` is the task's, or the later one with which the server sent it again; 0 is none.
    """

    task: Task
    deadline: float
    light: Parcel | None = None  # the task's, where its segments have yet to be fetched
    undecided: Parcel | None = None  # what the server is told while a person has yet to decide
    decide_by: float = 0.0  # Unix seconds
    stop_reason: str | None = None
    reply: Parcel | None = None
    done: threading.Event = field(default_factory=threading.Event)


class WorkerEvents(EventLog):
    """The worker's event log; every event of a hospital's work is also a moment at which the task can be stopped."""

    def __init__(self, path: Path | None, heard: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(path)
        self._heard = heard

    def emit(self, kind: str, **fields: Any) -> None:
        with contextlib.suppress(OSError):  # on a full disk progress is not shown; the work goes on if it can
            super().emit(kind, **fields)
        if kind == "site":
            self._heard(fields)


class TaskDesk:
    """Takes tasks from any thread, does them one after the other in a thread of its own, and remembers.

    ``do`` is SiteWorker.run; ``finish`` stores what a run brought. Both are made by the caller so that nothing here
    needs TensorFlow.
    """

    def __init__(self, folder: SiteFolder, settings: SiteSettings) -> None:
        self.folder, self.settings = folder, settings
        self.participation = Participation(folder.state)
        self.store = ReplyStore(folder.replies)
        self.egress = EgressLog(folder.egress)
        self.egress.mend()
        self.events = WorkerEvents(folder.events, self._heard)
        self.carriage = Carriage(folder.incoming, folder.segments)
        self.restart_needed = threading.Event()
        self._jobs: dict[str, Job] = {}
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # which a signal may put into at any moment
        self._lock = threading.Lock()
        self._current: Job | None = None
        self._threads: int | None = None
        self._announced: str | None = None
        self._expired: set[str] = set()  # tasks that nobody decided on in time, which the server has yet to hear

    def undecided(self, task_id: str) -> bool:
        """Whether the task is here and waits for a person."""
        with self._lock:
            job = self._jobs.get(task_id)
        return job is not None and job.undecided is not None

    def decision(self, task: DecisionTask) -> Parcel:
        """The answer to ``task``, written down as what leaves."""
        decided = Decided(decided=not self.undecided(task.about))
        reply = DecisionReply(site=task.site, round=task.round, task_id=task.id, results=decided)
        return self.egress.record(task, closed(what_may_leave(reply, limits_here(self.settings))))

    def submit(self, task: Task, light: Parcel | None = None) -> Job:
        """The job of the task: the one under way if it came before, so that it is never done twice at once. ``light``
        is its parcel where the segments have yet to be fetched.

        Other work for the same run is stopped: a server asks a hospital for one thing at a time, so whoever asks for
        the next one, or for an earlier one after a restart, waits for the last one no longer.
        """
        with self._lock:
            for job in self._jobs.values():
                if job.task.run == task.run and job.task.id != task.id:
                    job.stop_reason = f"the server has gone on to {task.kind} of round {task.round}"
            known = self._jobs.get(task.id)
            if known is not None:
                known.deadline = 0.0 if 0.0 in (known.deadline, task.deadline) else max(known.deadline, task.deadline)
                return known
            job = self._jobs[task.id] = Job(task, task.deadline, light)
            self._queue.put(job)
            return job

    def run(self, do: Callable[[Task], Reply], finish: Callable[[FinishTask, Experiment], Reply]) -> None:
        """Do tasks until ``close``, in this thread: TensorFlow wants to stay in one."""
        while (job := self._queue.get()) is not None:
            self._current, later = job, False
            try:
                job.reply = self._answer(job, do, finish)
            except OthersWait:
                later = True
            except RestartNeeded:
                self.restart_needed.set()
            finally:
                self._current = None
                if later:
                    self._queue.put(job)
                else:
                    with self._lock:
                        del self._jobs[job.task.id]
                    job.done.set()

    def close(self) -> None:
        """Stop the task under way at its next step, and ``run`` after it."""
        if (job := self._current) is not None:
            job.stop_reason = "the site worker is being stopped"
        self._queue.put(None)

    def _answer(
        self, job: Job, do: Callable[[Task], Reply], finish: Callable[[FinishTask, Experiment], Reply]
    ) -> Parcel:
        task = job.task
        parcel, kept = None, False
        try:
            self.store.forget(task.acknowledged)
            self._check_head(task)
            request = request_sha256(task)
            if task.kind in _KEPT:
                parcel = self.store.load(task.id, request)
                kept = parcel is not None
            if parcel is None:
                reply = self._made(job, do, finish)
        except (OthersWait, RestartNeeded):
            raise
        except Exception as error:  # whatever it is, the server hears of it and the next task is done
            reply = _failed(task, error)
            if reply.error is not None and reply.error.startswith(OWN_DISK):
                print(reply.error, flush=True)  # the event log may lie on the same disk
        if parcel is None:
            if reply.error is not None:
                self.events.emit("failure", site=task.site, round=task.round, reason=reply.error)
            reply = self._gated(task, reply.model_copy(update={"task_id": task.id}))
            parcel = closed(reply)
        try:
            parcel = self.egress.record(task, parcel, again=kept)
            if not kept and reply.error is None and not reply.lacking and task.kind in _KEPT:
                self.store.save(task.id, request, parcel)
        except (ValueError, OSError) as error:  # what cannot be written down does not leave
            self.events.emit("failure", site=task.site, round=task.round, reason=str(error))
            print(f"{CANNOT_WRITE} {error}", flush=True)  # where the disk is full the line above has not been written
            why = f": {error.strerror}" if isinstance(error, OSError) and error.errno in DISK else ""
            nothing = RuntimeError(f"the hospital cannot write down what leaves, so nothing does{why}")
            return closed(what_may_leave(_failed(task, nothing), None))
        return self._delivered(job, parcel, fresh=not kept)

    def _delivered(self, job: Job, parcel: Parcel, fresh: bool) -> Parcel:
        """What the message back holds of the parcel: where the task came so, its segments go beside it."""
        task = job.task
        if not task.by_address or not parcel.data:
            return parcel
        try:
            self.carriage.deliver(task, parcel, fresh, partial(self._passes, task, "send"))
        except GoneError as error:  # the message goes all the same: the lead notes that it came late
            self.events.emit("note", text=f"the update was not delivered: {error}")
        except Exception as error:  # as of a task's own work: the server hears of it, and the next task is done
            self.events.emit("failure", site=task.site, round=task.round, reason=str(error))
            told = closed(what_may_leave(_failed(task, error), None))
            with contextlib.suppress(ValueError, OSError):  # it holds nothing but a sentence of the closed list
                told = self.egress.record(task, told)
            return told
        return parcel.without_data()

    def _passes(self, task: Task, stage: str, done: int, total: int) -> None:
        self.events.emit("site", site=task.site, round=task.round, stage=stage, done=done, total=total)

    def _with_segments(self, job: Job) -> Task:
        if job.light is None:
            return job.task
        found = self.carriage.fetch(job.task, job.light, partial(self._passes, job.task, "fetch"))
        whole: Task = with_segments(job.task, job.light.with_data(found))
        return whole

    def _gated(self, task: Task, reply: Reply) -> Reply:
        try:
            if (reply.site, reply.round, reply.kind) != (task.site, task.round, task.kind):
                raise ValueError("the reply is to another task")
            failed_already = reply.error is not None
            allowed = None if failed_already else allowed_here(self.settings, parse_experiment(task.experiment))
            return what_may_leave(reply, allowed)
        except ValueError as error:  # what the gate does not know does not leave, and nothing that came with it
            self.events.emit("failure", site=task.site, round=task.round, reason=str(error))
            return failed(task, NO_RULE)

    def _made(self, job: Job, do: Callable[[Task], Reply], finish: Callable[[FinishTask, Experiment], Reply]) -> Reply:
        task = job.task
        try:
            experiment = parse_experiment(task.experiment)
        except ValueError as error:
            self.events.emit("note", text=f"told only here: {error}")
            raise ValueError("the experiment cannot be read here; compare the FedThorax versions") from error
        found = refusals(task, experiment, self.settings)
        if found:
            raise ValueError("; ".join(found))
        if job.undecided is None:  # else it comes to its turn again
            self._announce(task, experiment)
        self._wait_for_approval(job, experiment)
        self._announce(task, experiment)
        if isinstance(task, FinishTask):
            whole = self._with_segments(job)
            assert isinstance(whole, FinishTask)  # for the type checker: a copy
            return finish(whole, experiment)
        self._require_threads(experiment)
        task = self._with_segments(job)
        before = self.store.begin(task.id)
        if before >= MOST_ATTEMPTS:
            self.store.end(task.id)
            raise RuntimeError(f"the task ended the site worker {before} times, so it is not tried again")
        try:
            here = at_this_site(experiment, self.settings).model_dump_json()
            return do(task.model_copy(update={"experiment": here}))
        finally:
            self.store.end(task.id)

    def _announce(self, task: Task, experiment: Experiment) -> None:
        if self._announced != task.run:
            self._announced = task.run
            with contextlib.suppress(FileNotFoundError):  # the first run of this hospital
                if self.folder.events.stat().st_size > MOST_EVENTS_BYTES:
                    os.truncate(self.folder.events, 0)  # progress of earlier runs
            self.events.emit("run", name=experiment.name, rounds=experiment.training.num_rounds, sites=[task.site])

    def _wait_for_approval(self, job: Job, experiment: Experiment) -> None:
        """Return once the hospital takes part. TaskStopped with the reason where it does not, or not in time,
        OthersWait where others can be done meanwhile."""
        task, name, stays = job.task, experiment.name, False
        job.decide_by = job.decide_by or time.time() + self.settings.approval_wait_s
        try:
            while True:
                verdict = self.participation.verdict(self.settings, task, experiment)
                if verdict.go:
                    if job.undecided is not None:
                        self.events.emit("note", text=f"the run {name} goes on: a person has agreed")
                    return
                if not verdict.ask:
                    raise TaskStopped(verdict.reason)
                if time.time() > job.decide_by or task.id in self._expired:
                    self._expired ^= {task.id}  # heard by nobody at first: the server learns it when it asks again
                    raise TaskStopped(f"{verdict.reason} within {self.settings.approval_wait_s:g} s")
                if job.undecided is None:
                    facts = run_summary(experiment, self.settings, task.kind, self._roster(), self._spent())
                    self.participation.request(task, facts)
                    told = Reply(kind=task.kind, site=task.site, round=task.round, task_id=task.id, undecided=True)
                    job.undecided = self.egress.record(task, closed(told))
                    command = f"fedthorax site approve {name}"
                    self.events.emit("note", text=f"the run {name} waits for a person: {command}")
                self._require_wanted(job, verdict.reason)
                time.sleep(APPROVAL_POLL_S)
                if stays := not self._queue.empty():
                    raise OthersWait
        finally:
            if not stays:
                job.undecided = None

    def _spent(self) -> float | None:
        """Of the hospital's privacy budget so far; None where it has none."""
        limit = self.settings.limits.privacy
        return None if limit is None else Budget(self.folder.privacy).epsilon(limit.delta)

    def _roster(self) -> str:
        with contextlib.suppress(ValueError, OSError):
            if (roster := trusted(self.folder)) is not None:
                return roster.fingerprint
        return ""

    def _require_threads(self, experiment: Experiment) -> None:
        """TensorFlow's number of threads is set once a process, and the bits of a sum depend on it."""
        wanted = experiment.training.threads or num_cpus()
        if self._threads not in (None, wanted):
            raise RestartNeeded
        self._threads = wanted

    def _heard(self, fields: dict[str, Any]) -> None:
        job = self._current
        if job is None:
            return
        self._require_wanted(job)
        standing = self.participation.standing
        if standing != "takes part":
            raise TaskStopped(f"the hospital has {standing} while it worked")

    @staticmethod
    def _require_wanted(job: Job, why: str = "") -> None:
        if job.stop_reason is not None:
            raise TaskStopped(f"stopped: {job.stop_reason}")
        if job.deadline and time.time() > job.deadline:
            raise TaskStopped(f"{why + ' by' if why else 'stopped at'} the deadline that the server set")

    def _check_head(self, task: Task) -> None:
        """What the server has seen of our log must still stand in it: else somebody has cut or rewritten it."""
        if task.egress_head and not self.egress.holds(task.egress_head):
            raise ValueError(
                "the hospital's log of what left lacks a line that the server has seen; it must be looked at"
            )


def at_this_site(experiment: Experiment, settings: SiteSettings) -> Experiment:
    """The experiment with this hospital's own folders and cache in it, whatever the server wrote there.

    ValueError where the network would be read from a file: a path from the server is never opened here.
    """
    if experiment.model.weights not in ("none", "received"):
        raise ValueError("model.weights names weights of the lead's: a hospital takes its weights with the task only")
    require_modalities(experiment.model, settings.source, "the hospital")
    hospitals = dict.fromkeys(experiment.data.hospitals) | {settings.name: settings.source}
    data = experiment.data.model_copy(update={"hospitals": hospitals, "central": None, "cache": settings.cache})
    return experiment.model_copy(update={"data": data})


def request_sha256(task: Task) -> str:
    """What the reply depends on besides the task's identity: a kept reply answers only the same question."""
    names = ("layout", "phase", "learning_rate", "splits", "own_round")
    asked = [task.experiment, *(getattr(task, name, None) for name in names)]
    return hashlib.sha256(canonical_json(asked).encode()).hexdigest()


def _failed(task: Task, error: Exception) -> Reply:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno in DISK:
        reason = f"{OWN_DISK} {error.strerror}"
    return failed(task, reason)


def warm_up() -> None:
    """Import TensorFlow before the first task asks for it; what goes wrong is said by the task that needs it."""
    with contextlib.suppress(Exception), collector_off():
        import fedthorax.client.process  # noqa: F401
