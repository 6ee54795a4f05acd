"""Branching lung vessels, as strokes from the hila outwards."""

from collections.abc import Sequence

import numpy as np

from fedthorax.simulations.phantom.canvas import Stroke

Point = tuple[float, float]


def branches(
    rng: np.random.Generator,
    hila: Sequence[Point],
    reach: float,
    stems: int = 7,
    width: float = 0.036,
) -> list[Stroke]:
    """Trees that fan out from each hilum, away from the midline, and taper towards the pleura."""
    strokes: list[Stroke] = []
    for u, v in hila:
        outward = 0.0 if u > 0 else np.pi
        for angle in np.linspace(-1.45, 1.45, stems):
            heading = outward + angle + rng.normal(0, 0.12)
            _grow(rng, strokes, (u, v), heading, reach * rng.uniform(0.16, 0.24), width, 4)
    # Thin before thick, so that a twig never covers the vessel it comes from.
    return sorted(strokes, key=lambda stroke: stroke.width)


def _grow(
    rng: np.random.Generator,
    strokes: list[Stroke],
    start: Point,
    heading: float,
    length: float,
    width: float,
    order: int,
) -> None:
    bend = heading + rng.normal(0, 0.18)
    middle = start[0] + 0.5 * length * np.cos(heading), start[1] + 0.5 * length * np.sin(heading)
    end = float(middle[0] + 0.5 * length * np.cos(bend)), float(middle[1] + 0.5 * length * np.sin(bend))
    strokes.append(Stroke([start, (float(middle[0]), float(middle[1])), end], width, 90 + 40 * order))
    if order == 1:
        return
    spread = rng.uniform(0.25, 0.5)
    for turn in (-spread, spread):
        _grow(rng, strokes, end, bend + turn, length * rng.uniform(0.7, 0.95), width * 0.66, order - 1)
