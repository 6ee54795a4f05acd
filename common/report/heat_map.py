"""How far apart hospitals are, as squares: the darker, the further."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fedthorax.common.report.svg import svg, text

_CELL, _LEFT, _TOP, _MAX_NAME = 56, 130, 74, 18


def heat_map(
    title: str,
    sites: Sequence[str],
    distance: Mapping[tuple[str, str], float | None],
    within: Mapping[str, float | None],
) -> Markup:
    """A square for every two sites; ``distance`` has each pair once, 0 to 1. The diagonal shows ``within``.

    An undefined distance is an empty square with a dash.
    """
    parts = []
    for row, one in enumerate(sites):
        y = _TOP + row * _CELL
        parts.append(text(_LEFT - 8, y + _CELL / 2 + 4, _short(one), "tick", anchor="end"))
        x = _LEFT + row * _CELL + _CELL / 2
        parts.append(
            Markup('<text class="tick" transform="translate({:.1f} {}) rotate(-35)">{}</text>').format(
                x, _TOP - 8, _short(one)
            )
        )
        for column, other in enumerate(sites):
            value = within.get(one) if one == other else distance.get((one, other), distance.get((other, one)))
            parts.append(_square(_LEFT + column * _CELL, y, value, one == other))
    words = "; ".join(
        f"{one} and {other} {'undefined' if value is None else f'{value:.3f}'}"
        for (one, other), value in distance.items()
    )
    side = len(sites) * _CELL
    return svg(_LEFT + side + 60, _TOP + side + 4, f"{title}: {words}.", Markup("").join(parts), "matrix")


def _square(x: float, y: float, value: float | None, diagonal: bool) -> Markup:
    opacity = 0.0 if value is None else 0.04 + 0.5 * value  # dark text stays readable on the darkest square
    box = Markup('<rect class="heat" fill-opacity="{:.3f}" x="{}" y="{}" width="{}" height="{}"/>').format(
        opacity, x, y, _CELL - 2, _CELL - 2
    )
    frame = Markup('<rect class="{}" fill="none" x="{}" y="{}" width="{}" height="{}"/>').format(
        "reference" if diagonal else "frame", x, y, _CELL - 2, _CELL - 2
    )
    number = "\N{EN DASH}" if value is None else f"{value:.2f}"
    return box + frame + text(x + _CELL / 2 - 1, y + _CELL / 2 + 4, number, "value", anchor="middle")


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
