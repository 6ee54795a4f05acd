"""How the rounds reach the hospitals: a channel sends tasks and gives replies as they arrive."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid

from fedthorax.common.messages import Reply, Task, decode_reply, encode, encode_weights, num_bytes

_KINDS = {"describe": "query", "train": "train", "evaluate": "evaluate", "statistics": "query"}


class Interrupted(Exception):  # noqa: N818  not an error: someone asked for the end
    """The run was asked to stop while it waited for hospitals."""


class Channel(Protocol):
    """Sends tasks and yields one reply a task, in the order of arrival. ``bytes_sent`` and ``bytes_received`` count
    payload since the start."""

    bytes_sent: int
    bytes_received: int

    def exchange(self, tasks: Sequence[Task]) -> Iterator[Reply]: ...


@dataclass
class FlowerChannel:
    """Tasks over Flower's grid.

    A hospital is the node that does its task. In a simulation the nodes are nameless and only lend their hands: tasks
    are dealt to them in turn, so that fewer nodes than hospitals do as well.
    """

    grid: Grid
    timeout_s: float
    node_wait_s: float = 60.0
    poll_s: float = 0.05
    stopped: Callable[[], bool] = lambda: False
    bytes_sent: int = 0
    bytes_received: int = 0
    _nodes: list[int] = field(default_factory=list)

    def exchange(self, tasks: Sequence[Task]) -> Iterator[Reply]:
        """Yield a Reply for every task: the hospital's own, or one with the reason why there is none.

        Raises TimeoutError when no node is connected, Interrupted when the run was asked to stop.
        """
        self._wait_for_nodes()
        messages = []
        shared: dict[int, ArrayRecord] = {}  # a model of its own for each hospital would be a lot of memory
        for position, task in enumerate(tasks):
            if id(task.weights) not in shared:
                shared[id(task.weights)] = encode_weights(task.weights)
            record = encode(task, shared[id(task.weights)])
            self.bytes_sent += num_bytes(record)
            node = self._nodes[position % len(self._nodes)]
            messages.append(Message(record, node, _KINDS[task.kind]))
        pending = dict(zip(self.grid.push_messages(messages), tasks, strict=True))
        del messages, shared
        deadline = time.monotonic() + self.timeout_s
        while pending and time.monotonic() < deadline:
            if self.stopped():
                raise Interrupted
            replies = list(self.grid.pull_messages(list(pending)))
            for message in replies:
                yield self._reply(message, pending.pop(message.metadata.reply_to_message_id))
            if not replies:
                time.sleep(self.poll_s)
        for task in pending.values():
            yield _failure(task, f"no reply within {self.timeout_s:g} s")

    def _reply(self, message: Message, task: Task) -> Reply:
        if message.has_error():
            return _failure(task, f"Flower reports: {message.error.reason or f'error {message.error.code}'}")
        self.bytes_received += num_bytes(message.content)
        try:
            reply = decode_reply(message.content)
        except ValueError as error:
            return _failure(task, str(error))
        if (reply.kind, reply.site, reply.round) != (task.kind, task.site, task.round):
            return _failure(task, f"the reply claims to be {reply.kind} of {reply.site} in round {reply.round}")
        return reply

    def _wait_for_nodes(self) -> None:
        deadline = time.monotonic() + self.node_wait_s
        while not self._nodes:
            self._nodes = sorted(self.grid.get_node_ids())
            if self.stopped():
                raise Interrupted
            if not self._nodes:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no Flower node has connected within {self.node_wait_s:g} s")
                time.sleep(self.poll_s)


def _failure(task: Task, reason: str) -> Reply:
    return Reply(task.kind, task.site, task.round, error=reason)
