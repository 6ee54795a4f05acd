"""How the rounds reach the hospitals: a channel sends tasks and gives replies as they arrive."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fedthorax.common.messages.message import Reply, Task

HospitalState = Literal["waiting", "working", "approval", "lost", "replied", "late", "failed", "missing"]


@dataclass(frozen=True)
class Passing:
    """Bytes of a task's objects that have passed, and of all, as the hospital told them; for a display."""

    stage: str  # fetch, send
    done: int
    total: int


Notify = Callable[[str, HospitalState | Passing], None]


class Interrupted(Exception):  # noqa: N818  not an error: someone asked for the end
    """The run was asked to stop while it waited for hospitals."""


@dataclass(frozen=True)
class LateReply:
    """A reply that nobody waits for any more: of a closed round, or of a task that was answered before.

    ``duplicate`` tells the second from the first. ``seconds`` passed since the deadline, or since the first answer.
    ``problem`` says why it would have been refused in time, empty where it is a reply like others.
    """

    task: Task
    duplicate: bool
    seconds: float
    problem: str = ""


class Channel(Protocol):
    """Sends tasks and yields one reply a task, in the order of arrival. ``bytes_sent`` and ``bytes_received`` count
    payload since the start of the run."""

    bytes_sent: int
    bytes_received: int

    def watch(self, notify: Notify) -> None:
        """Call ``notify`` with a hospital and its new state whenever that is known to have changed, and with how far it
        is where bytes pass."""
        ...

    def gather(self, required: int) -> frozenset[str]:
        """Wait until ``required`` hospitals are connected; the names of all that are by then.

        Raises TimeoutError, naming those missing, when they do not come.
        """
        ...

    def exchange(self, tasks: Sequence[Task], enough: Callable[[], bool]) -> Iterator[Reply]:
        """A Reply for every task: the hospital's own, or one with the reason why there is none.

        ``Task.deadline`` bounds the wait. Once ``enough()`` is true, hospitals that are not connected are waited for
        less long. Whoever stops iterating gives up the tasks that are left.
        """
        ...

    def late(self) -> list[LateReply]:
        """Replies to earlier tasks that have arrived since the last call."""
        ...
