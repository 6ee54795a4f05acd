"""Rounds: who must take part, how long the server waits, when it stops."""

from typing import Literal

from pydantic import Field

from fedthorax.common.algorithms import StrategyName
from fedthorax.common.algorithms.settings import StrategySettings
from fedthorax.common.ground.frozen import Frozen

CodecName = Literal["float32", "lossless", "int8", "int4"]


class FederationConfig(Frozen):
    """The consortium's rules for a round."""

    strategy: StrategyName = Field(
        default="fedavg",
        description="How updates become the next model; fedavg: their weighted mean; docs/strategies.md has more.",
    )
    strategy_settings: StrategySettings = Field(
        default=StrategySettings(), description="Numbers of the strategies; each reads its own."
    )
    weigh_by: Literal["pairs", "branches"] | None = Field(
        default=None,
        description="What a hospital's part in a mean is weighed by: pairs: all of the model by its training pairs; "
        "branches: each encoder by its images, the fusion by pairs, a head's unit by the known labels of its finding. "
        "null: branches where model.absent is token, pairs elsewhere.",
    )
    codec: CodecName = Field(
        default="float32",
        description="How weights travel; float32: as they are; lossless: packed, the same bits; int8, int4: as rounded "
        "differences, and what rounding leaves out comes with the next one; docs/codecs.md says what each costs.",
    )
    secure_aggregation: bool = Field(
        default=False,
        description="Whether updates are masked, so that the server computes their weighted sum and learns nothing of "
        "one hospital's update or of how many images stand behind it; docs/privacy.md says what it protects from.",
    )
    smallest_sum: int = Field(
        default=3,
        ge=2,
        description="Under masks, hospitals that must stand behind each part of the model; one with fewer stays as it "
        "was. Of a sum of two, each can work out the other's update.",
    )
    min_sites: int | None = Field(
        default=None, ge=1, description="Updates without which a round is not closed; null: every hospital's."
    )
    round_timeout_s: float = Field(
        default=86400.0,
        gt=0,
        description="Deadline of a round: without a hospital's reply by then the round goes on, if min_sites replied.",
    )
    connect_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Longest wait for min_sites hospitals to be connected, and, once min_sites replied in a round, for "
        "one that is not.",
    )
    ask_after_s: float = Field(
        default=120.0,
        gt=0,
        description="In a consortium a hospital that is connected and has said nothing for so long is asked whether "
        "its task was lost on the way, and again after twice as long; a lost one is sent again.",
    )
    unusual_updates: Literal["off", "warn", "refuse"] = Field(
        default="refuse",
        description="What happens to an update that moves the weights much more or less than the others: it is "
        "averaged all the same (off), and named in the report (warn), or put aside and named (refuse).",
    )
    unusual_factor: float = Field(
        default=5.0,
        gt=1,
        description="An update is unusual where its norm, by its steps, is so many times above or below the median.",
    )
    largest_hospital: int = Field(
        default=1_000_000,
        ge=1,
        description="Training pairs of one pass that the lead allows to one hospital; who describes more is refused, "
        "and so are counts of more images behind a branch or in a histogram.",
    )
    notable_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="With three hospitals or more, one that has a larger share of a round's weight is named at the "
        "lead's console and in the report, and so is one that says it holds a larger share of the central test images.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Rounds without a better selection metric before the run stops early; null: never.",
    )

    @property
    def rounds_weights(self) -> bool:
        """Whether the codec leaves something out, which both sides keep for the next time."""
        return self.codec in ("int8", "int4")


class SimulationConfig(Frozen):
    """How many hospitals train at once on this machine."""

    parallel_sites: int = Field(
        default=1, ge=1, description="Hospitals that train at the same time, each in a process with its own TensorFlow."
    )
