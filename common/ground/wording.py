"""How numbers, times and lists are written in the report. None is written as an en dash."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

UNDEFINED = "\N{EN DASH}"


def at(value: Any, *place: str) -> Any:
    """``value[key][key]…``, or None as soon as one is missing or null."""
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def figure(value: float | None) -> str:
    """A score or a loss, three decimals."""
    return UNDEFINED if value is None else f"{value:.3f}"


def beside(value: float, limit: float) -> tuple[str, str]:
    """Both with as many decimals, from three on, as it takes to see that ``value`` is below ``limit`` where it is."""
    digits = 3
    while value < limit and f"{value:.{digits}f}" == f"{limit:.{digits}f}":
        digits += 1
    return f"{value:.{digits}f}", f"{limit:.{digits}f}"


def interval(low_high: Sequence[float] | None) -> str:
    return UNDEFINED if low_high is None else f"{low_high[0]:.3f} to {low_high[1]:.3f}"


def bracketed(low_high: Sequence[float] | None) -> str:
    """The interval behind its figure; nothing where there is none."""
    return f" ({interval(low_high)})" if low_high else ""


def count(value: float | None) -> str:
    """A whole number, with thin spaces between thousands from 10 000 on."""
    if value is None:
        return UNDEFINED
    text = f"{round(value):,}"
    return text.replace(",", "" if abs(value) < 10_000 else "\u202f")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    return f"{count(number)} {singular if number == 1 else plural or singular + 's'}"


def number_of(number: int, one: str, many: str | None = None) -> str:
    """``1 picture``, ``2 pictures``: in a terminal, a log, a message."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def seconds(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def data_size(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def moment(iso: str | None) -> str:
    """``2025-03-01 14:05 UTC``; a text that is no moment comes back as it is."""
    if not iso:
        return UNDEFINED
    try:
        value = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC)
    return f"{value:%Y-%m-%d %H:%M} UTC"


def joined(names: Sequence[str], limit: int = 8) -> str:
    """``A, B and C``; a long list is cut and says by how much."""
    if len(names) > limit:
        return f"{', '.join(names[: limit - 1])} and {len(names) - limit + 1} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def round_ranges(rounds: Sequence[int]) -> str:
    """``round 3``, ``rounds 1 to 4 and 7``."""
    ranges: list[list[int]] = []
    for number in sorted(rounds):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in ranges]
    return f"{'round' if len(rounds) == 1 else 'rounds'} {joined(words)}"
