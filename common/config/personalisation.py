"""What a hospital makes of the finished model for itself."""

from typing import Literal

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen

FineTuned = Literal["batch_norm", "outputs", "heads", "all", "last_phase"]


class PersonalisationConfig(Frozen):
    """Nothing of it changes the common model, and the weights of a hospital's own model never leave it."""

    fine_tune: tuple[FineTuned, ...] = Field(
        default=(),
        strict=False,
        description="What each hospital trains further on its own images once the run is over; of several, and the "
        "common model, it keeps the one with the lowest loss on its validation split. batch_norm: the normalisation "
        "after the backbones; outputs: the last layer of each head; heads: everything after the backbones; all: the "
        "whole network; last_phase: what the last of training.phases trains. Empty: nothing.",
    )
    epochs: int = Field(default=20, ge=1, description="Most passes over the hospital's pairs.")
    patience: int = Field(
        default=3,
        ge=1,
        description="Passes without a lower loss on the hospital's validation split before it stops and returns to its "
        "best one.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Learning rate of the fine-tuning; null: training.learning_rate, of last_phase that phase's own.",
    )
