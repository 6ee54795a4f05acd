"""Tasks over Flower's grid: sent, sent again where they were lost, and answered once.

What Flower 1.42 does with a message, read in its code: a node that misses two heartbeats makes the SuperLink answer in
its place and forget the message, and with it a reply that comes after all. A SuperNode that starts again has forgotten
the tasks it had taken, and nobody tells. In both cases the task has to be sent again; the site knows it by ``Task.id``
and does the work once.

Worse is a connection that breaks while a task or a reply travels: the SuperLink takes it for delivered, the SuperNode
knows nothing of it or drops it, and both wait. So a hospital that is connected and has not answered for a while is sent
a small question. SuperNodes take one message after the other, each after they have sent the reply to the last one: if
the question is answered and the task is not, the task or its reply was lost.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedthorax.common.ground.wording import number_of
from fedthorax.common.messages.message import ARRAYS, Reply, Task, failed
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.replies import DecisionReply
from fedthorax.common.messages.sending import Payload, closed, from_flower, num_bytes, to_flower
from fedthorax.common.messages.tasks import HELD_S, DecisionTask, ModelTask, PresentTask, sent_arrays
from fedthorax.common.wire.parcel import Parcel
from fedthorax.common.wire.segment import pack_whole
from fedthorax.server.channel import HospitalState, Interrupted, LateReply, Notify, Passing
from fedthorax.server.consortium.objects import ObjectStore
from fedthorax.server.nodes import Node, Recognise

_KINDS = {
    "describe": "query",
    "train": "train",
    "evaluate": "evaluate",
    "personalise": "train",
    "statistics": "query",
    "unmask": "query",
    "finish": "query",
    "decision": "query",
}
# Errors that say that the task or its reply was lost, and not that the hospital's side failed at it.
_LOST = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.NODE_UNAVAILABLE)
_LONGEST_RETRY_S = 60.0
_LATE_S = 7 * 86400.0  # for so long after the deadline the SuperLink keeps a message, so that a late reply is known


@dataclass
class _Dispatch:
    """A task on its way."""

    task: Task
    payloads: dict[tuple[tuple[str, int], ...], Payload]  # by names and ids of what is sent; all tasks share it
    sent: dict[str, Node] = field(default_factory=dict)  # unanswered messages and to which node each went
    attempts: int = 0  # that ended in an error of Flower's
    failures: int = 0  # of them those at the hospital's side
    reason: str = "not connected"
    next_try: float = 0.0
    question: str | None = None  # message that asks whether the task was lost
    questions: int = 0  # asked since the task was sent
    next_question: float = 0.0
    undecided: bool = False  # the task is at the hospital and waits for a person
    passing: Passing | None = None  # how far its objects are


@dataclass
class FlowerChannel:
    """See Channel. ``recognise`` says which hospital a connected node is."""

    grid: Grid
    sites: Sequence[str]
    recognise: Recognise
    connect_timeout_s: float = 60.0
    poll_s: float = 0.05
    node_poll_s: float = 1.0  # between two looks at who is connected
    retry_s: float = 2.0  # before a task is sent again after Flower failed, doubled each time
    max_failures: int = 3
    ask_after_s: float | None = None  # silence after which a hospital is asked whether its task was lost; None: never
    stopped: Callable[[], bool] = lambda: False
    sent: Callable[[], None] = lambda: None  # called when messages for hospitals lie at the SuperLink
    wait: Callable[[float], None] = time.sleep  # between two looks for replies; told ``poll_s``
    objects: ObjectStore | None = None  # segments travel beside the messages; None: in them
    consortium_head: Callable[[], str] = lambda: ""  # newest hash of the consortium's audit log; goes with each task
    bytes_sent: int = 0
    bytes_received: int = 0
    _nodes: Mapping[str, Node] = field(default_factory=dict)
    _nodes_seen: float = 0.0
    _away_since: dict[str, float] = field(default_factory=dict)  # hospitals that are not connected
    _overdue: dict[str, tuple[Task, Node]] = field(default_factory=dict)  # messages nobody waits for any more
    _closed: dict[str, float] = field(default_factory=dict)  # Task.id → when it was answered
    _late: list[LateReply] = field(default_factory=list)
    _mail: dict[str, Message] = field(default_factory=dict)  # by the message that each answers
    _notify: Notify | None = None

    def watch(self, notify: Notify) -> None:
        self._notify = notify

    def gather(self, required: int) -> frozenset[str]:
        until = time.monotonic() + self.connect_timeout_s
        while True:
            self._check_stopped()
            connected = self._connected(fresh=True)
            if len(connected) >= required:
                return frozenset(connected)
            if time.monotonic() > until:
                missing = ", ".join(site for site in self.sites if site not in connected)
                needed = f"{number_of(required, 'hospital')} needed (federation.min_sites)"
                raise TimeoutError(
                    f"{len(connected)} of the {needed} connected after {self.connect_timeout_s:g} s "
                    f"(federation.connect_timeout_s); not connected: {missing}"
                )
            time.sleep(min(self.node_poll_s, self.connect_timeout_s))

    def exchange(self, tasks: Sequence[Task], enough: Callable[[], bool]) -> Iterator[Reply]:
        shared: dict[
            tuple[tuple[str, int], ...], Payload
        ] = {}  # a model of its own for each hospital would be a lot of memory
        waiting = {task.site: _Dispatch(task, shared) for task in tasks}
        del shared
        try:
            while waiting:
                self._check_stopped()
                now = time.time()
                connected = self._connected()
                if self.objects is not None:
                    asked = [name for one in waiting.values() for name in (*one.sent, one.question) if name]
                    self._collect([*asked, *self._overdue])
                arrived = False
                for site, dispatch in list(waiting.items()):
                    reply = self._advance(dispatch, connected.get(site), now)
                    answered = reply is not None
                    if reply is None and now >= dispatch.task.deadline > 0:
                        self._tell(site, "missing")
                        reply = failed(dispatch.task, f"no reply by the deadline; {dispatch.reason}")
                    if reply is not None:
                        del waiting[site]
                        self._close(dispatch, answered)
                        arrived = True
                        yield reply
                    else:
                        self._tell_passing(dispatch)
                self._look_for_late()
                for site in self._given_up(waiting) if enough() else ():
                    dispatch = waiting.pop(site)
                    self._tell(site, "missing")
                    self._close(dispatch, False)
                    yield failed(dispatch.task, f"not connected for {self.connect_timeout_s:g} s")
                if waiting and not arrived:
                    self.wait(self.poll_s)
        finally:
            for dispatch in waiting.values():  # nobody waits for these any more
                self._close(dispatch, False)

    def late(self) -> list[LateReply]:
        found, self._late = self._late, []
        return found

    def _advance(self, dispatch: _Dispatch, node: Node | None, now: float) -> Reply | None:
        """Look for answers, send the task where it is not on its way; the reply that closes it, if there is one."""
        idle = not dispatch.undecided and self._is_idle(
            dispatch
        )  # before the look at the replies: what was sent before this answer is there now
        for message_id in list(dispatch.sent):
            message = self._pull(message_id)
            if message is None:
                continue
            sent_to = dispatch.sent.pop(message_id)
            if not message.has_error():
                reply = self._checked(message, dispatch.task, sent_to)
                if reply.error is None and reply.lacking:
                    task = dispatch.task
                    if not (isinstance(task, ModelTask) and set(reply.lacking) <= {*task.held, *task.packed}):
                        return failed(task, f"lacks {', '.join(reply.lacking)} of the model, which were sent")
                    # It has lost them: they go once more, as a whole.
                    held = tuple(name for name in task.held if name not in reply.lacking)
                    packed = {name: data for name, data in task.packed.items() if name not in reply.lacking}
                    dispatch.task = task.model_copy(update={"held": held, "packed": packed})
                    continue
                if reply.error is None and reply.undecided:
                    dispatch.reason = "a person there has not agreed yet (fedthorax site approve)"
                    dispatch.undecided, dispatch.question, dispatch.next_question = True, None, now
                    self._tell(dispatch.task.site, "approval")
                    continue
                self._tell(dispatch.task.site, "failed" if reply.error else "replied")
                return reply
            dispatch.reason = f"Flower reports: {message.error.reason or f'error {message.error.code}'}"
            dispatch.attempts += 1
            dispatch.next_try = now + min(self.retry_s * 2 ** (dispatch.attempts - 1), _LONGEST_RETRY_S)
            dispatch.failures += message.error.code not in _LOST
            if dispatch.failures >= self.max_failures:
                self._tell(dispatch.task.site, "failed")
                return failed(dispatch.task, f"{dispatch.reason} ({dispatch.failures} times)")
        if node is None:
            if not dispatch.sent:
                dispatch.reason = "not connected"
            return None
        if dispatch.undecided and self._waits_for_a_person(dispatch, node, now):
            return None
        if idle and node in dispatch.sent.values():
            self._take_back(dispatch)
            self._tell(dispatch.task.site, "lost")
        if node not in dispatch.sent.values():
            # Not sent yet, or lost, or forgotten by a SuperNode that has started again.
            if now >= dispatch.next_try and not now >= dispatch.task.deadline > 0:
                self._send(dispatch, node, now)
        elif self.ask_after_s is not None and now >= dispatch.next_question:
            self._ask(dispatch, node, now)
        return None

    def _send(self, dispatch: _Dispatch, node: Node, now: float) -> None:
        task = dispatch.task.model_copy(update={"consortium_head": self.consortium_head()})
        payload = self._payload(dispatch)
        if self.objects is not None and isinstance(task, ModelTask):
            task = task.model_copy(update={"by_address": True})
            self.bytes_sent += self.objects.offer(task, payload.cargo)
            record = to_flower(closed(task, payload.cargo).without_data())
        else:
            record = to_flower(closed(task, payload.cargo), payload)
        left = task.deadline - now if task.deadline else 0.0
        message = Message(record, node.id, _KINDS[task.kind], ttl=max(left, 0.0) + _LATE_S)
        ids = [message_id for message_id in self.grid.push_messages([message]) if message_id]
        if not ids:
            dispatch.reason = "Flower did not take the task"
            dispatch.next_try = now + self.retry_s
            return
        self.sent()
        self.bytes_sent += num_bytes(record)
        dispatch.sent[ids[0]] = node
        dispatch.reason = "the task was sent"
        dispatch.question, dispatch.questions = None, 0
        dispatch.next_question = now + (self.ask_after_s or 0.0)
        self._tell(task.site, "working")

    def _ask(self, dispatch: _Dispatch, node: Node, now: float) -> None:
        """Ask whether the task was lost. A hospital at work answers when it has done it, so each next question (this
        one may be lost too) waits twice as long as the last."""
        asked = dispatch.task
        self._question(dispatch, node, now, PresentTask(site=asked.site, round=asked.round, run=asked.run))
        dispatch.questions += 1
        dispatch.next_question = now + (self.ask_after_s or 0.0) * 2**dispatch.questions

    def _waits_for_a_person(self, dispatch: _Dispatch, node: Node, now: float) -> bool:
        """Ask about the decision, one question after the other; an answer that never comes is not waited for long."""
        asked = dispatch.task
        question = DecisionTask(site=asked.site, round=asked.round, run=asked.run, about=asked.id)
        if dispatch.question is not None and (answer := self._pull(dispatch.question)) is not None:
            dispatch.question, dispatch.next_question = None, now + self.retry_s
            reply = None if answer.has_error() else self._checked(answer, question, node)
            if isinstance(reply, DecisionReply) and reply.error is None and reply.told.decided:
                dispatch.undecided = False
        elif now >= dispatch.next_question:
            self._question(dispatch, node, now, question)
            dispatch.next_question = now + 2 * HELD_S
        return dispatch.undecided

    def _question(self, dispatch: _Dispatch, node: Node, now: float, question: Task) -> None:
        asked, record = dispatch.task, to_flower(closed(question))
        ids = self.grid.push_messages([Message(record, node.id, "query", ttl=max(asked.deadline - now, 0.0) + _LATE_S)])
        self.sent()
        dispatch.question = next((message_id for message_id in ids if message_id), None)
        self.bytes_sent += num_bytes(record)

    def _is_idle(self, dispatch: _Dispatch) -> bool:
        """Whether the hospital has answered a question, and so has nothing to do."""
        if dispatch.question is None or (answer := self._pull(dispatch.question)) is None:
            return False
        dispatch.question = None
        return not answer.has_error()

    def _take_back(self, dispatch: _Dispatch) -> None:
        """Messages that nobody waits for any more; should a reply to one come all the same, it is told as late."""
        task = dispatch.task
        light = task.model_copy(update={name: {} for name in ARRAYS})
        self._overdue |= {message_id: (light, node) for message_id, node in dispatch.sent.items()}
        dispatch.sent.clear()

    @staticmethod
    def _payload(dispatch: _Dispatch) -> Payload:
        task, payloads = dispatch.task, dispatch.payloads
        arrays = sent_arrays(task)
        key = tuple((name, id(values)) for name, values in arrays.items())
        if key not in payloads:
            packs = isinstance(task, ModelTask) and task.packs
            payloads[key] = Payload.of(
                {n: pack_whole(a) if packs and a.dtype == np.float32 else a for n, a in arrays.items()}
            )
        return payloads[key]

    def _collect(self, message_ids: list[str]) -> None:
        for message in self.grid.pull_messages(message_ids) if message_ids else ():
            self._mail[message.metadata.reply_to_message_id] = message
            if not message.has_error():
                self.bytes_received += num_bytes(message.content)

    def _pull(self, message_id: str) -> Message | None:
        """What was collected. Where models travel in messages, one is asked for at a time: all at once would be a model
        for each hospital in memory."""
        if self.objects is None:
            self._collect([message_id])
        return self._mail.pop(message_id, None)

    def _checked(self, message: Message, task: Task, node: Node) -> Reply:
        """The reply, or the reason for refusing it. Who sent it is what Flower has authenticated, not what it says."""
        if message.metadata.src_node_id != node.id:
            return failed(task, f"refused: the reply comes from node {message.metadata.src_node_id}, not {node.id}")
        try:
            reply = read_reply(self._with_segments(from_flower(message.content), task), task)
        except ValueError as error:
            return failed(task, f"refused: {error}")
        if (reply.kind, reply.site, reply.round) != (task.kind, task.site, task.round):
            claim = f"{reply.kind} of {reply.site} in round {reply.round}"
            return failed(task, f"refused: the reply claims to be {claim}")
        if reply.task_id != task.id:
            return failed(task, "refused: the reply answers another task")
        return reply

    def _with_segments(self, parcel: Parcel, task: Task) -> Parcel:
        if self.objects is None or not parcel.light or not isinstance(task, ModelTask):
            return parcel
        whole = self.objects.whole(task, parcel)
        self.bytes_received += whole.num_bytes - parcel.num_bytes
        return whole

    def _close(self, dispatch: _Dispatch, answered: bool) -> None:
        if self.objects is not None and isinstance(dispatch.task, ModelTask):
            self.objects.close(dispatch.task)
        if answered:
            self._closed[dispatch.task.id] = time.time()
        self._take_back(dispatch)

    def _look_for_late(self) -> None:
        for message_id, (task, node) in list(self._overdue.items()):
            message = self._pull(message_id)
            if message is None:
                continue
            del self._overdue[message_id]
            if message.has_error():
                continue  # Flower's own word that no reply will come, which the closed round has taken for granted
            first, problem = None, ""
            if message.metadata.src_node_id != node.id:
                problem = f"comes from node {message.metadata.src_node_id}, not {node.id}"
            else:
                try:
                    reply = read_reply(from_flower(message.content), task, late=True)
                    first = self._closed.get(reply.task_id)
                except ValueError as error:
                    problem = f"cannot be read: {error}"
            self._tell(task.site, "late")
            seconds = time.time() - (task.deadline if first is None else first)
            self._late.append(LateReply(task, first is not None, seconds, problem))

    def _given_up(self, waiting: Mapping[str, _Dispatch]) -> list[str]:
        """Hospitals that have been away for too long, once all that are still waited for are away."""
        if not all(site in self._away_since for site in waiting):
            return []
        now = time.monotonic()
        return [site for site in waiting if now - self._away_since[site] >= self.connect_timeout_s]

    def _connected(self, fresh: bool = False) -> Mapping[str, Node]:
        now = time.monotonic()
        if fresh or not self._nodes_seen or now - self._nodes_seen >= self.node_poll_s:
            known = self.recognise(self.grid.get_nodes())
            self._nodes = {site: node for site, node in known.items() if site in self.sites}
            self._nodes_seen = now
            for site in self.sites:
                if site in self._nodes:
                    self._away_since.pop(site, None)
                elif site not in self._away_since:
                    self._away_since[site] = now
                    self._tell(site, "waiting")
        return self._nodes

    def _tell(self, site: str, state: HospitalState | Passing) -> None:
        if self._notify is not None:
            self._notify(site, state)

    def _tell_passing(self, dispatch: _Dispatch) -> None:
        if self.objects is None or not isinstance(dispatch.task, ModelTask):
            return
        if (found := self.objects.passing(dispatch.task)) not in (None, dispatch.passing):
            dispatch.passing = found
            self._tell(dispatch.task.site, found)

    def _check_stopped(self) -> None:
        if self.stopped():
            raise Interrupted
