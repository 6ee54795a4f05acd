"""What a hospital lets out, and how much of it holds at a place of a reply."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.suppression import rounded

NOT_ALLOWED = "The hospital does not give this score away."


class NoRuleError(ValueError):
    """Something in a reply has no rule, or is not what its rule is for: nothing of the reply leaves."""


@dataclass(frozen=True)
class Allowed:
    """What a hospital lets out. ``smallest`` images stand behind a count or a figure at least; counts that the policy
    has hidden and rounded are held to ``policy``. ``tasks`` are those of ``loss``, ``disease`` and ``cancer`` whose
    figures leave, ``names`` what the lead knows: findings, classes, hospitals. ``files``: names of files may leave."""

    smallest: int = 0
    policy: PrivacyConfig = field(default_factory=lambda: PrivacyConfig(smallest_count=1, round_to=1))
    tasks: frozenset[str] = frozenset({"loss", "disease", "cancer"})
    names: frozenset[str] = frozenset()
    files: bool = False

    @property
    def few(self) -> str:
        return f"Fewer than {self.smallest} images: the hospital keeps it."

    @property
    def smallest_shown(self) -> int:
        return max(1, rounded(self.policy.smallest_count, self.policy))


@dataclass(frozen=True)
class Here:
    """``why`` figures are kept, None where they leave; ``task`` is that of the figures, ``counts`` those of the models
    around, the nearest last."""

    allowed: Allowed
    where: str
    why: str | None = None
    task: str | None = None
    counts: Mapping[str, int | None] = field(default_factory=dict)

    def at(self, name: object) -> "Here":
        return replace(self, where=f"{self.where}.{name}")
