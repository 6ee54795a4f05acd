"""What every strategy is given and gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.strategy import StrategySettings
from fedthorax.common.model.segments import Weights
from fedthorax.server.branchwise import Part

Segments = dict[str, NDArray[np.float32]]
State = Mapping[str, NDArray[np.float32]]  # what the server keeps from round to round, in the checkpoint


@dataclass(frozen=True)
class Update:
    """A hospital's checked update. ``loss`` is that of the incoming model there, None where it is not told. ``control``
    is the change of its control variate by segment (SCAFFOLD)."""

    site: str
    weights: Weights
    num_pairs: int
    counts: Mapping[str, Any]
    loss: float | None
    control: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class RoundShape:
    """Sizes of the segments that are trained in a round, and the parts that are averaged each by its own counts; no
    parts: everything by pairs. ``statistics`` are the moving statistics of each segment: means, never steps. ``own``
    are values that stay at the hospitals: what updates hold there says nothing. ``all_pairs`` are those of all
    hospitals that have joined, whether they answer in this round or not; 0: unknown."""

    sizes: Mapping[str, int]
    parts: Sequence[Part] | None
    statistics: Mapping[str, Sequence[slice]]
    own: Mapping[str, Sequence[slice]] = field(default_factory=dict)
    all_pairs: int = 0


class Aggregate(Protocol):
    """The updates of one round on their way to one model; any order of arrival gives the same bits."""

    @property
    def num_examples(self) -> int:
        """Pairs behind the updates that are in."""
        ...

    def add(self, update: Update) -> None:
        """Take an update as it arrives. Raises ValueError where it cannot be used."""
        ...

    def result(self, before: Weights) -> Segments:
        """The segments that come out. ``before`` are the weights that the round began with."""
        ...

    def close(self) -> None:
        """Give back what was kept outside of memory."""
        ...


NewAggregate = Callable[[StrategySettings, RoundShape], Aggregate]
# (settings, round's shape, weights before, what the aggregate gave, state) → new segments and new state.
ServerStep = Callable[[StrategySettings, RoundShape, Weights, Segments, State], tuple[Segments, State]]


def _nothing(state: State) -> Segments:
    return {}


@dataclass(frozen=True)
class Strategy:
    """``aggregate`` makes one model of the updates; ``step`` decides how far the server goes towards it; ``told`` is
    what of its state goes to the hospitals beside the model."""

    aggregate: NewAggregate
    step: ServerStep
    told: Callable[[State], Segments] = _nothing


def keep(
    settings: StrategySettings, shape: RoundShape, before: Weights, found: Segments, state: State
) -> tuple[Segments, State]:
    """The server's step of most strategies: what came out is the new model."""
    return found, state
