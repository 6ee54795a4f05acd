"""What a replay tells: what changed before it, and what differs after it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedthorax.cli.tables import Row, aligned
from fedthorax.common.ground.wording import number_of

if TYPE_CHECKING:
    from fedthorax.common.replay.differences import Difference, RoundDifferences, RunDifferences

_ROUNDS_SHOWN = _CHANGES_SHOWN = 10
_SAME = "as they were"


def condition_lines(
    conditions: "Mapping[str, Mapping[str, tuple[Any, Any]]]", not_compared: Sequence[str] = ()
) -> list[str]:
    """A line for each subject, one for each change, and one for data of which the run wrote down no fingerprint."""
    lines = []
    for subject, changes in conditions.items():
        unknown = not_compared if subject == "data" else ()
        lines += [f"{subject:<10}{name}: not compared, the run wrote down no fingerprint" for name in unknown]
        if not changes and not unknown:
            lines.append(f"{subject:<10}{'as it was' if subject == 'machine' else _SAME}")
        lines += [f"{subject:<10}{_change(subject, name, *values)}" for name, values in changes.items()][
            :_CHANGES_SHOWN
        ]
        if (left := len(changes) - _CHANGES_SHOWN) > 0:
            lines.append(f"{subject:<10}and {left} more (--json)")
    return lines


def _change(subject: str, name: str, before: Any, now: Any) -> str:
    if subject == "data":
        return f"{name}: images, labels or splits have changed"
    if subject == "settings":
        edited = "config.yaml was edited after the run"
        return edited if name == "config.yaml" else f"{name} is new, with its default: {_value(now)}"
    return f"{name} is {_value(now)}, was {_value(before)}"


def difference_lines(found: "RunDifferences") -> list[str]:
    """Weights, values, the first round that differs, and a table of the rounds that do."""
    lines = [f"{'weights':<10}{_weights(found)}", f"{'values':<10}{_values(found)}"]
    differing = [entry for entry in found.rounds if entry.differences or not entry.same_weights]
    if differing:
        lines += ["", *_table(differing[:_ROUNDS_SHOWN])]
        if left := len(differing) - _ROUNDS_SHOWN:
            lines += [f"and {number_of(left, 'more round')}"] * (left > 0)
        lines.append("")
    return lines + [_line(one) for one in found.end[:_ROUNDS_SHOWN]] + _more(len(found.end))


def _weights(found: "RunDifferences") -> str:
    last = found.rounds[-1]
    if found.same_weights:
        return f"the same after every round; SHA-256 after round {last.round}: {last.weights_now}"
    first = next(entry for entry in found.rounds if not entry.same_weights)
    return (
        f"others from round {first.round} on: SHA-256 {_short(first.weights_now)}, was {_short(first.weights_before)}"
    )


def _values(found: "RunDifferences") -> str:
    within = f" by more than {found.tolerance:g}" if found.tolerance else ""
    if not found.differences:
        return f"{found.compared} compared, none differs{within}"
    first = found.differences[0]
    return f"{found.compared} compared, {len(found.differences)} differ{within}; the first: {_line(first)}"


def _table(rounds: "list[RoundDifferences]") -> list[str]:
    from fedthorax.common.replay.differences import largest

    rows: list[Row] = [("round", "weights", "values that differ", "largest")]
    notes = []
    for entry in rounds:
        biggest = largest(entry.differences)
        size = "-" if biggest is None or biggest.size is None else f"{biggest.size:.3g}"
        rows.append((str(entry.round), "same" if entry.same_weights else "other", str(len(entry.differences)), size))
        notes.append("" if biggest is None else f"  {_line(biggest)}")
    head, *body = aligned(rows)
    return [head, *(f"{line}{note}" for line, note in zip(body, notes, strict=True))]


def _line(one: "Difference") -> str:
    size = "" if one.size is None else f" ({one.now - one.before:+.3g})"
    return f"{one.path} {_value(one.before)} -> {_value(one.now)}{size}"


def _more(number: int) -> list[str]:
    return [f"and {number - _ROUNDS_SHOWN} more"] if number > _ROUNDS_SHOWN else []


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _short(digest: str | None) -> str:
    return "unknown" if digest is None else f"{digest[:12]}…"
