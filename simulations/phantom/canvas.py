"""Drawing in body coordinates: soft shapes, strokes, smooth noise, branching vessels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Plane = NDArray[np.floating[Any]]

# Strokes are drawn larger and shrunk, because Pillow's lines have hard edges.
_STROKE_SCALE = 3


@dataclass(frozen=True)
class Stroke:
    """A line through body points; ``width`` in body units, ``value`` in 0..255 is what it writes on the canvas."""

    points: Sequence[tuple[float, float]]
    width: float
    value: int = 255


@dataclass(frozen=True)
class Pose:
    """How a body lies on an image of ``height`` by ``width`` pixels.

    In body coordinates u runs to the viewer's right, v runs down, and the shorter side of the image spans [-1, 1]
    before ``zoom``. The same body in two poses is the same patient, photographed twice.
    """

    height: int
    width: int
    rotation_degrees: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def pixels_per_unit(self) -> float:
        return min(self.height, self.width) / 2 * self.zoom

    def body_grid(self) -> tuple[Plane, Plane]:
        """u and v of every pixel centre, each of shape (height, width)."""
        x = (np.arange(self.width, dtype=np.float32) + np.float32(0.5 - self.width / 2))[None, :]
        y = (np.arange(self.height, dtype=np.float32) + np.float32(0.5 - self.height / 2))[:, None]
        cos, sin = self._turn()
        scale = self.pixels_per_unit
        u = (cos * x + sin * y) / scale - self.shift[0]
        v = (-sin * x + cos * y) / scale - self.shift[1]
        return u.astype(np.float32), v.astype(np.float32)

    def pixels(self, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
        """Pixel positions (x, y) of body points, shape (points, 2)."""
        uv = np.asarray(points, dtype=np.float64) + self.shift
        cos, sin = self._turn()
        scale = self.pixels_per_unit
        x = (cos * uv[:, 0] - sin * uv[:, 1]) * scale + self.width / 2
        y = (sin * uv[:, 0] + cos * uv[:, 1]) * scale + self.height / 2
        return np.stack([x, y], axis=1)

    def strokes(self, strokes: Iterable[Stroke]) -> Plane:
        """A plane in [0, 1] with all strokes; a later stroke covers an earlier one."""
        canvas = Image.new("L", (self.width * _STROKE_SCALE, self.height * _STROKE_SCALE), 0)
        draw = ImageDraw.Draw(canvas)
        for stroke in strokes:
            points = self.pixels(stroke.points) * _STROKE_SCALE
            width = max(1, round(stroke.width * self.pixels_per_unit * _STROKE_SCALE))
            draw.line([(float(x), float(y)) for x, y in points], fill=stroke.value, width=width, joint="curve")
        return np.asarray(canvas.reduce(_STROKE_SCALE), dtype=np.float32) / np.float32(255)

    def _turn(self) -> tuple[float, float]:
        angle = np.deg2rad(self.rotation_degrees)
        return float(np.cos(angle)), float(np.sin(angle))


def step(distance: Plane, softness: float) -> Plane:
    """0 outside, 1 inside, over a border of ``softness`` on each side of distance 0."""
    t = np.clip(distance * np.float32(0.5 / softness) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def ellipse(u: Plane, v: Plane, centre: tuple[float, float], radii: tuple[float, float], tilt: float = 0.0) -> Plane:
    """About the distance inside an ellipse's border, positive inside; ``tilt`` in degrees, clockwise on the image."""
    cos, sin = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    du, dv = u - np.float32(centre[0]), v - np.float32(centre[1])
    a = (du * np.float32(cos) + dv * np.float32(sin)) / np.float32(radii[0])
    b = (dv * np.float32(cos) - du * np.float32(sin)) / np.float32(radii[1])
    return (1 - np.sqrt(a * a + b * b)) * np.float32(min(radii))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Plane:
    """Noise of mean about 0 and deviation about 1 with ``cells`` bumps along the shorter side."""
    height, width = shape
    scale = cells / min(shape)
    small = rng.standard_normal((max(2, round(height * scale)), max(2, round(width * scale))), dtype=np.float32)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def blur(image: Plane, sigma_pixels: float) -> Plane:
    """Gaussian blur with mirrored borders."""
    if sigma_pixels < 0.2:
        return image
    radius = int(np.ceil(2.5 * sigma_pixels))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_pixels) ** 2)
    kernel = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        size = image.shape[axis]
        padded = np.pad(image, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="symmetric")
        image = np.zeros_like(image)
        for offset, weight in enumerate(kernel):
            image += weight * (padded[offset : offset + size] if axis == 0 else padded[:, offset : offset + size])
    return image


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
