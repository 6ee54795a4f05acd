"""Where, and by how much, two runs differ: round by round, value by value, and in the SHA-256 of the weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedthorax.common.ground.audit import verify
from fedthorax.common.ground.strict_json import side_by_side
from fedthorax.common.record.run_folder import RunFolder

# Of the clock, the load of the machine, or a nonce: no two runs have them alike.
_NOT_COMPARED = frozenset(
    {"seconds", "bytes_sent", "bytes_received", "peak_memory_mb", "late", "egress_head", "statistics"}
)
_END = (
    "best_round", "selection", "stopped_early", "central", "operating_points", "test", "test_with_duplicates", "pooled",
    "sites",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One value of metrics.json; ``path`` as it stands there. ``size`` is None where either side is no number."""

    path: str
    before: Any
    now: Any
    size: float | None


@dataclass(frozen=True)
class RoundDifferences:
    """One round. The SHA-256 are those of the weights after it, None where the audit log does not tell them."""

    round: int
    weights_before: str | None
    weights_now: str | None
    compared: int
    differences: tuple[Difference, ...]

    @property
    def same_weights(self) -> bool:
        return self.weights_before == self.weights_now


@dataclass(frozen=True)
class RunDifferences:
    """``rounds`` that both runs have; ``end`` is what metrics.json holds beside them, ``compared_at_end`` how many
    values that are. Numbers that differ by no more than ``tolerance`` count as the same."""

    tolerance: float
    rounds: tuple[RoundDifferences, ...]
    compared_at_end: int
    end: tuple[Difference, ...]

    @property
    def compared(self) -> int:
        return self.compared_at_end + sum(entry.compared for entry in self.rounds)

    @property
    def differences(self) -> tuple[Difference, ...]:
        return (*(one for entry in self.rounds for one in entry.differences), *self.end)

    @property
    def same_weights(self) -> bool:
        return all(entry.same_weights for entry in self.rounds)

    @property
    def same(self) -> bool:
        """With a tolerance the weights may be others: it is meant for other machines, which round differently."""
        return not self.differences and (self.same_weights or self.tolerance > 0)

    @property
    def first(self) -> RoundDifferences | None:
        """The first round after which the weights or a value differ."""
        found = (entry for entry in self.rounds if entry.differences or not entry.same_weights)
        return next(found, None)

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "compared": self.compared, "same_weights": self.same_weights, "same": self.same}


def largest(differences: tuple[Difference, ...]) -> Difference | None:
    """The one with the largest size, else the first without a size; None if there is none."""
    return max(differences, key=lambda one: -1.0 if one.size is None else one.size, default=None)


def run_differences(before: Path, now: Path, tolerance: float = 0.0) -> RunDifferences:
    """Two run folders, compared. Raises ValueError where an audit log was altered, FileNotFoundError where none is."""
    old, new = RunFolder.load(before), RunFolder.load(now)
    return compare(
        old.read_metrics(), new.read_metrics(), round_weights(old.audit), round_weights(new.audit), tolerance
    )


def compare(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    weights_before: Mapping[int, str],
    weights_now: Mapping[int, str],
    tolerance: float = 0.0,
) -> RunDifferences:
    """Two contents of metrics.json and, by round, the SHA-256 of the weights after it."""
    rounds, old, new = [], _by_round(before), _by_round(now)
    for number in sorted(old.keys() & new.keys()):
        compared, found = _compare(old[number], new[number], f"rounds[{number}]", tolerance)
        rounds.append(RoundDifferences(number, weights_before.get(number), weights_now.get(number), compared, found))
    compared_at_end, end = 0, list[Difference]()
    for name in _END:
        compared, found = _compare(before.get(name), now.get(name), name, tolerance)
        compared_at_end, end = compared_at_end + compared, [*end, *found]
    if old.keys() != new.keys():
        end.insert(0, Difference("rounds", len(old), len(new), float(abs(len(old) - len(new)))))
    return RunDifferences(tolerance, tuple(rounds), compared_at_end, tuple(end))


def round_weights(audit: Path) -> dict[int, str]:
    """SHA-256 of the weights after each round, from the log of a run whose chain is whole; a round that was run again
    after a stop counts as it was run last."""
    verify(audit)
    entries = map(json.loads, audit.read_text(encoding="utf-8").splitlines())
    closed = (entry["facts"] for entry in entries if entry["event"] == "round closed")
    return {int(facts["round"]): str(facts["model_sha256"]) for facts in closed}


def _by_round(metrics: Mapping[str, Any]) -> dict[int, Any]:
    return {int(entry["round"]): entry for entry in metrics["rounds"]}


def _compare(before: Any, now: Any, path: str, tolerance: float) -> tuple[int, tuple[Difference, ...]]:
    pairs = []
    for place, one, other in side_by_side(before, now, _NOT_COMPARED):
        name = path + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
        size = abs(other - one) if _number(one) and _number(other) else None
        pairs.append(Difference(name, one, other, size))
    differing = (pair for pair in pairs if (pair.before != pair.now if pair.size is None else pair.size > tolerance))
    return len(pairs), tuple(differing)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
