"""What a hospital may tell about its patients in numbers."""

from pydantic import Field, model_validator

from fedthorax.common.ground.frozen import Frozen

MOST_ROUNDED = 50


class PrivacyConfig(Frozen):
    """The smallest group that is counted aloud, and how coarsely; a hospital's own stricter values win."""

    smallest_count: int = Field(
        default=5,
        ge=1,
        description="Counts of fewer patients than this are hidden at the hospital; 1: nothing is hidden.",
    )
    round_to: int = Field(
        default=5,
        ge=1,
        le=MOST_ROUNDED,
        description="Shown counts are rounded to multiples of this; 1: exact.",
    )

    @model_validator(mode="after")
    def _hides_what_it_says(self) -> "PrivacyConfig":
        if self.smallest_count == 2:
            raise ValueError(
                "smallest_count must be 1 (nothing is hidden) or at least 3: with 2, a hidden count could only be 1"
            )
        if self.round_to > self.smallest_count:
            raise ValueError(
                f"round_to must be at most smallest_count ({self.smallest_count}), got {self.round_to}: a count that "
                "is shown could be rounded to 0"
            )
        return self


def stricter(one: PrivacyConfig, other: PrivacyConfig) -> PrivacyConfig:
    """The larger of each of the two values."""
    return PrivacyConfig(
        smallest_count=max(one.smallest_count, other.smallest_count), round_to=max(one.round_to, other.round_to)
    )


def at_least(policy: PrivacyConfig, smallest: int) -> PrivacyConfig:
    """The policy that tells no count below ``smallest`` either; 2 is none, because a hidden count could only be 1."""
    smallest = max(policy.smallest_count, smallest)
    return PrivacyConfig(smallest_count=3 if smallest == 2 else smallest, round_to=policy.round_to)
