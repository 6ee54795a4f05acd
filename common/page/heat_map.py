"""How far apart hospitals are, as squares: the darker, the further."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fedthorax.common.page.svg import svg, text

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


def _square(x: float, y: float, value: float | None, diagonal: bool, shade: float | None = None) -> Markup:
    """``shade`` from 0 to 1, by default the value."""
    shade = value if shade is None else shade
    opacity = 0.0 if shade is None else 0.04 + 0.5 * shade  # dark text stays readable on the darkest square
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


def area_map(
    title: str, rows: Sequence[str], columns: Sequence[str], area: Mapping[str, Mapping[str, float | None]]
) -> Markup:
    """A square for every model (row) on every hospital's images (column): the darker, the better; ROC-AUC 0.5 and below
    is white. A dotted frame where both are of the same hospital; an undefined figure is a dash."""
    parts = []
    for column, name in enumerate(columns):
        x = _LEFT + column * _CELL + _CELL / 2
        parts.append(
            Markup('<text class="tick" transform="translate({:.1f} {}) rotate(-35)">{}</text>').format(
                x, _TOP - 8, _short(name)
            )
        )
    words = []
    for row, model in enumerate(rows):
        y = _TOP + row * _CELL
        parts.append(text(_LEFT - 8, y + _CELL / 2 + 4, _short(model), "tick", anchor="end"))
        for column, name in enumerate(columns):
            value = area[model].get(name)
            shade = None if value is None else max(0.0, 2 * value - 1)
            parts.append(_square(_LEFT + column * _CELL, y, value, model == name, shade))
            words.append(f"{model} on {name} {'undefined' if value is None else f'{value:.2f}'}")
    width, height = _LEFT + len(columns) * _CELL + 60, _TOP + len(rows) * _CELL + 4
    return svg(width, height, f"{title}: {'; '.join(words)}.", Markup("").join(parts), "matrix")
