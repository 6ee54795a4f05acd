"""Rounds: who must take part, how long the server waits, when it stops."""

from typing import Literal

from pydantic import Field

from fedthorax.common.config.frozen import Frozen


class FederationConfig(Frozen):
    """The consortium's rules for a round."""

    strategy: Literal["fedavg"] = Field(
        default="fedavg", description="fedavg: mean of the hospitals' weights by their number of training pairs."
    )
    min_sites: int | None = Field(
        default=None, ge=1, description="Updates without which a round is not closed; null: every hospital's."
    )
    round_timeout_s: float = Field(default=86400.0, gt=0, description="Longest wait for the replies of a round.")
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Rounds without a better selection metric before the run stops early; null: never.",
    )


class SimulationConfig(Frozen):
    """How many hospitals train at once on this machine."""

    parallel_sites: int = Field(
        default=1, ge=1, description="Hospitals that train at the same time, each in a process with its own TensorFlow."
    )
