"""Curves of the hospitals' grey levels, one a hospital."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fedthorax.common.page.svg import nice_ticks, svg, text
from fedthorax.common.report.plots import MAX_COLOURED_SITES

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 240, 44, 12, 12, 34


def grey_level_chart(title: str, shares: Mapping[str, Sequence[float] | None]) -> Markup | None:
    """Shares of pixels over the grey levels 0 to 255; a site without is left out. None if there is none."""
    known = {name: values for name, values in shares.items() if values}
    if not known:
        return None
    ticks = nice_ticks(0.0, max(max(values) for values in known.values()), (0.0, 1.0))
    height = _HEIGHT - _TOP - _BOTTOM
    width = _WIDTH - _LEFT - _RIGHT
    parts = []
    for tick in ticks:
        y = _TOP + height * (1 - tick / ticks[-1])
        parts.append(
            Markup('<line class="grid" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(_LEFT, y, _WIDTH - _RIGHT, y)
        )
        parts.append(text(_LEFT - 6, y + 4, f"{tick:.0%}" if ticks[1] >= 0.01 else f"{tick:.1%}", "tick", anchor="end"))
    for level in (0, 64, 128, 192, 255):
        parts.append(text(_LEFT + width * level / 256, _HEIGHT - _BOTTOM + 16, str(level), "tick", anchor="middle"))
    parts.append(text(_LEFT + width / 2, _HEIGHT - 3, "grey level", "tick", anchor="middle"))
    for position, name in enumerate(shares):
        if name not in known:
            continue
        step = width / len(known[name])
        points = "L".join(
            f"{_LEFT + (bin_ + 0.5) * step:.1f} {_TOP + height * (1 - share / ticks[-1]):.1f}"
            for bin_, share in enumerate(known[name])
        )
        style = f"site{position}" if len(shares) <= MAX_COLOURED_SITES else "faint"
        parts.append(Markup('<g><title>{}</title><path class="line {}" d="M{}"/></g>').format(name, style, points))
    words = "; ".join(
        f"{name} mean {sum((b + 0.5) * 256 / len(values) * share for b, share in enumerate(values)):.0f}"
        for name, values in known.items()
    )
    return svg(_WIDTH, _HEIGHT, f"{title}: {words}.", Markup("").join(parts))
