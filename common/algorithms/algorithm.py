"""What an algorithm says of itself, both halves: what it does at the server, and what it changes at a hospital.

State goes in, state comes out: what the server remembers is in its checkpoint, what a hospital keeps is in its folder,
and an algorithm itself holds nothing. All vectors are laid out as the segments of the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.aggregation import MaskedSum
from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.algorithms.settings import StrategySettings

Weights = Mapping[str, NDArray[np.float32]]
Segments = dict[str, NDArray[np.float32]]
State = Mapping[str, NDArray[np.float32]]  # what the server keeps from round to round, in the checkpoint


@dataclass(frozen=True)
class Refuses:
    """What an algorithm cannot be combined with: None, or why, as the half of a sentence that begins with ``which``.

    Nothing has a default: who writes an algorithm has to say.
    """

    codecs: str | None  # weights that travel otherwise than as float32
    tokens: str | None  # model.absent: token, under which hospitals may send different segments
    masks: str | None  # single updates that the server cannot read, of which it gets weighted sums alone
    least_sites: Callable[[StrategySettings], int]  # updates without which it does not hold what it promises


@dataclass(frozen=True)
class Update:
    """A hospital's checked update. ``loss`` is that of the incoming model there, None where it is not told. ``beside``
    is what the algorithm's half at the hospital sends with it, by segment."""

    site: str
    weights: Weights
    num_pairs: int
    counts: Mapping[str, Any]
    loss: float | None
    beside: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class RoundShape:
    """Sizes of the segments that are trained in a round, and the parts that are averaged each by its own counts; no
    parts: everything by pairs. ``statistics`` are the moving statistics of each segment: means, never steps.
    ``batch_norm`` is where normalisation that is not frozen lies in each. ``all_pairs`` are those of all hospitals that
    have joined, whether they answer in this round or not; 0: unknown. ``frozen`` is what the phase does not train."""

    sizes: Mapping[str, int]
    parts: Sequence[Part] | None
    statistics: Mapping[str, Sequence[slice]]
    batch_norm: Mapping[str, Sequence[slice]] = field(default_factory=dict)
    all_pairs: int = 0
    frozen: Mapping[str, Sequence[slice]] = field(default_factory=dict)


class Aggregate(Protocol):
    """The updates of one round on their way to one model; any order of arrival gives the same bits."""

    @property
    def num_examples(self) -> int:
        """Pairs behind the updates that are in."""
        ...

    def add(self, update: Update) -> None:
        """Take an update as it arrives. Raises ValueError where it cannot be used."""
        ...

    def remove(self, update: Update) -> None:
        """Take out again an update that was added, with the same weights: nothing of it is left."""
        ...

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        """The segments of the next model, and what the server is to remember. ``before`` are the weights that the round
        began with, ``state`` what it remembered."""
        ...

    def close(self) -> None:
        """Give back what was kept outside of memory."""
        ...


@runtime_checkable
class TakesSums(Protocol):
    """An aggregate of an algorithm that does not refuse masks."""

    def add_sums(self, sums: Sequence[MaskedSum]) -> None:
        """Take masked updates, of which only the weighted sums are known."""
        ...


class LocalStep:
    """How a step of local training differs from plain descent; as it stands here, not at all.

    Made once for what is trained of a network, with its variables. ``change`` is traced into the graph of the step, so
    whatever may be another in the next task has to be a variable that ``begin`` sets.
    """

    def __init__(self, settings: StrategySettings, variables: Sequence[Any]) -> None:
        self.settings, self.variables = settings, variables

    def begin(self, given: Sequence[NDArray[np.float32] | None]) -> None:
        """A task begins: the weights are those it starts from. ``given``: what AtHospital.give gave, by variable."""

    def change(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """The gradients that the optimiser is to see. None stays None: the loss does not depend on such a variable."""
        return gradients

    def gathered(self, steps: int) -> Sequence[NDArray[np.float32]]:
        """What it has gathered in the ``steps`` since ``begin``, by variable; empty: nothing."""
        return ()


class Gathering(LocalStep):
    """A local step that holds what was ``given``, 0 where nothing was, and sums the gradients that it sees."""

    def __init__(self, settings: StrategySettings, variables: Sequence[Any]) -> None:
        import tensorflow as tf

        super().__init__(settings, variables)
        self.given, self._sums = (
            [tf.Variable(tf.zeros_like(variable.value), trainable=False) for variable in variables] for _ in range(2)
        )

    def begin(self, given: Sequence[NDArray[np.float32] | None]) -> None:
        for held, total, values in zip(self.given, self._sums, given, strict=True):
            nothing = np.zeros(total.shape, np.float32)
            held.assign(nothing if values is None else values)
            total.assign(nothing)

    def gather(self, gradients: Sequence[Any]) -> None:
        """For ``change``: count these gradients in."""
        for gradient, total in zip(gradients, self._sums, strict=True):
            if gradient is not None:
                total.assign_add(gradient)

    def gathered(self, steps: int) -> Sequence[NDArray[np.float32]]:
        """The mean gradient of the steps."""
        return [total.numpy() / np.float32(steps) for total in self._sums]


class Layout(Protocol):
    """SegmentLayout, as far as an algorithm asks it."""

    def batch_norm(self, segment: str) -> tuple[slice, ...]: ...
    def statistics(self, segment: str) -> tuple[slice, ...]: ...


@dataclass(frozen=True)
class Trained:
    """A hospital after its training: the model that ``came``, what ``arrive`` made of it and training ``began`` with,
    the ``update`` (the segments that were trained), what was ``kept`` here, and what LocalStep ``gathered``."""

    layout: Layout
    came: Weights
    began: Weights
    update: Weights
    kept: Weights
    gathered: Weights


@dataclass(frozen=True)
class Leaving:
    """What leaves a hospital, the update and what goes ``beside`` it, and what it is to ``keep`` for its next task."""

    update: Weights
    beside: Weights = field(default_factory=dict)
    keep: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class AtHospital:
    """The half at a hospital.

    ``arrive`` makes of the model that came, and of what is kept here, the one that is scored and trained; None: it is
    used as it came. ``step`` changes the local step, for which ``give`` makes vectors of what the server told, of what
    is kept here, and of the segments that are trained. ``leave`` parts what was trained.

    ``keeps`` and ``sends`` say in words what stays here from round to round and what leaves beside the update, for the
    person who decides about it. Without the words nothing is kept, and nothing leaves. ``keep_rounds``: of how many
    rounds it is kept, None: of all.
    """

    step: Callable[[StrategySettings, Sequence[Any]], LocalStep] | None = None
    arrive: Callable[[Layout, Weights, Weights], Weights] | None = None
    give: Callable[[Weights, Weights, Sequence[str]], Weights] = lambda told, kept, segments: {}
    leave: Callable[[Trained], Leaving] = lambda trained: Leaving(trained.update)
    keeps: str | None = None
    sends: str | None = None
    keep_rounds: int | None = None

    @property
    def plain(self) -> bool:
        """Whether hospitals train from the model that came, step by step as without it, and send the result."""
        return self == AtHospital()


@dataclass(frozen=True)
class Algorithm:
    """``aggregate`` makes one model of a round's updates; ``tell`` is what of its state goes to the hospitals with
    every training task, by segment. ``measures_batch_norm``: the server's statistics of normalisation are not the
    hospitals', and are measured anew on its validation images after every round. ``caution`` is what a reader of the
    report has to know: a title and a text."""

    refuses: Refuses
    aggregate: Callable[[StrategySettings, RoundShape], Aggregate]
    tell: Callable[[State], Weights] = lambda state: {}
    hospital: AtHospital = AtHospital()
    measures_batch_norm: bool = False
    caution: tuple[str, str] | None = None


def one_is_enough(settings: StrategySettings) -> int:
    return 1
