"""What a hospital has spent of its patients' privacy: a log in which every line vouches for the one before it.

Each line is a task: its run, how many steps, with what noise, and a mark that depends on all that determined their
values. The same mark again is the same answer, which costs nothing; anything else is paid for, and written down before
it leaves.
"""

from collections import Counter
from pathlib import Path

from pydantic import Field

from fedthorax.common.config.patient_privacy import Mechanism
from fedthorax.common.ground.audit import AuditLog, parts, read_lines, verify
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.privacy.accountant import Spent, epsilon

_EVENT = "private steps"


class Limit(Frozen):
    """What a hospital allows for all runs together, for as long as it keeps its log."""

    epsilon: float = Field(gt=0, description="Most that all runs together may spend.")
    delta: float = Field(gt=0, lt=0.01, description="The delta that epsilon is counted for.")
    mechanism: Mechanism = Field(
        default="local", description="local: steps private by themselves alone; distributed: sums under masks too."
    )


class Charge(Frozen):
    """The steps of one task. ``planned`` are those of the whole run."""

    run: str
    round: int
    rate: float
    noise: float
    steps: int
    planned: int
    mark: str


class Budget:
    """The log at ``path``; without a ``limit`` everything is allowed, and written down all the same."""

    def __init__(self, path: Path, limit: Limit | None = None) -> None:
        self.path, self.limit = path, limit

    def spend(self, charge: Charge) -> int:
        """Write the charge down, on disk when this returns, and say how many steps the run has had in all.

        ValueError, with nothing written, where it would exceed the limit, or where the log is damaged.
        """
        lines = self._lines()
        done = sum(line.steps for line in lines if line.run == charge.run)
        if any(line.mark == charge.mark for line in lines):
            return done
        if self.limit is not None and not self._allows(lines, charge, self.limit):
            raise ValueError(
                f"its patients' privacy is spent: {charge.steps} more steps would exceed the hospital's limit "
                "(limits.privacy)"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        AuditLog(self.path).append(_EVENT, **charge.model_dump())
        return done + charge.steps

    def epsilon(self, delta: float) -> float:
        """Of all that was spent here so far; 0 of nothing."""
        spent = _summed(self._lines())
        return epsilon(spent, delta) if spent else 0.0

    @staticmethod
    def _allows(lines: list[Charge], charge: Charge, limit: Limit) -> bool:
        # Where the whole run fits, which is worked out once, none of its steps needs to be looked at by itself.
        others = [
            line for line in lines if (line.run, line.rate, line.noise) != (charge.run, charge.rate, charge.noise)
        ]
        done = sum(line.steps for line in lines) - sum(line.steps for line in others) + charge.steps
        return any(
            epsilon(_summed([*others, charge.model_copy(update={"steps": steps})]), limit.delta) <= limit.epsilon
            for steps in (max(charge.planned, done), done)
        )

    def _lines(self) -> list[Charge]:
        if not parts(self.path):
            return []
        verify(self.path)
        return [Charge.model_validate(line["facts"]) for line in read_lines(self.path) if line["event"] == _EVENT]


def _summed(charges: list[Charge]) -> tuple[Spent, ...]:
    found: Counter[tuple[float, float]] = Counter()
    for charge in charges:
        found[charge.rate, charge.noise] += charge.steps
    return tuple((rate, noise, steps) for (rate, noise), steps in sorted(found.items()))
