"""How a hospital's machines make the same anatomy look: tone, blur, noise, frame, markers, file format."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fedthorax.simulations.phantom.canvas import Plane, blur

# Attenuation to brightness before a look's own gamma: toe for air, nearly straight for lung, shoulder for bone.
_CURVE_IN = (0.0, 0.3, 0.5, 0.8, 1.0, 1.2, 1.45, 1.9)
_CURVE_OUT = (0.02, 0.13, 0.26, 0.55, 0.71, 0.83, 0.93, 1.0)


@dataclass(frozen=True)
class Look:
    """One hospital's X-ray and CT machines. Blur and grain are in pixels at 128 pixels a side, noise in grey of 0..1.

    ``aspect`` is height by width of an X-ray, ``window_hu`` the lowest and highest Hounsfield unit shown of a CT slice.
    """

    name: str
    aspect: float
    scale: float
    gamma: float
    contrast: float
    blur: float
    noise: float
    grain: float
    collimation: float
    marker: Literal["letter", "box", "none"]
    xray_format: Literal["png", "png16", "jpg"]
    ct_scale: float
    ct_blur: float
    ct_noise: float
    window_hu: tuple[float, float]


LOOKS = (
    Look("digital", 1.0, 1.0, 1.0, 1.0, 0.35, 0.012, 0.0, 0.0, "letter", "png", 1.0, 0.3, 22.0, (-1350.0, 150.0)),
    Look("cassette", 1.2, 0.9, 1.2, 0.86, 0.80, 0.020, 0.5, 0.04, "box", "jpg", 0.9, 0.9, 14.0, (-1150.0, 250.0)),
    Look(
        "flat panel", 0.85, 1.1, 0.8, 1.15, 0.25, 0.020, 0.4, 0.02, "letter", "png16", 1.1, 0.0, 48.0, (-1250.0, 50.0)
    ),
    Look("mobile", 0.8, 1.0, 1.1, 0.80, 1.00, 0.028, 0.5, 0.06, "none", "jpg", 1.0, 0.6, 34.0, (-1000.0, 300.0)),
    Look("film scan", 1.15, 1.0, 0.9, 0.95, 0.60, 0.022, 1.2, 0.03, "letter", "png", 0.95, 0.4, 60.0, (-1400.0, 100.0)),
)


def look_of(index: int) -> Look:
    """The look of the hospital at this place in the list; looks repeat after the last."""
    return LOOKS[index % len(LOOKS)]


def xray_size(look: Look, image_size: int) -> tuple[int, int]:
    """(height, width) of this hospital's X-rays; about ``image_size`` times its scale on the shorter side."""
    short = max(32, round(image_size * look.scale))
    return (round(short * look.aspect), short) if look.aspect >= 1 else (short, round(short / look.aspect))


def ct_size(look: Look, image_size: int) -> tuple[int, int]:
    side = max(32, round(image_size * look.ct_scale))
    return side, side


def expose_xray(rng: np.random.Generator, look: Look, attenuation: Plane, portable: bool) -> Plane:
    """Brightness in [0, 1] as this machine shows it; ``portable`` (AP, at the bedside) is softer and noisier."""
    pixel = min(attenuation.shape) / 128
    image = np.interp(attenuation * rng.normal(1, 0.03), _CURVE_IN, _CURVE_OUT).astype(np.float32)
    image = np.float32(0.5 + rng.normal(0, 0.015)) + np.float32(look.contrast) * (image - np.float32(0.5))
    image = np.clip(image, 0, 1) ** np.float32(look.gamma * np.exp(rng.normal(0, 0.05)))
    image = blur(image, (look.blur + 0.35 * portable) * pixel)
    grain = blur(rng.standard_normal(image.shape, dtype=np.float32), look.grain * pixel)
    grain *= np.float32(look.noise * (1.4 if portable else 1.0)) / max(float(grain.std()), 1e-6)
    # Fewer photons reach the detector behind dense parts, which therefore show more noise.
    image = image + grain * (0.6 + 0.8 * image)
    _collimate(rng, look, image)
    if look.marker != "none":
        image = _mark(rng, look, image)
    return np.clip(image, 0, 1)


def window_ct(rng: np.random.Generator, look: Look, hu: Plane) -> Plane:
    """Brightness in [0, 1] of a CT slice in this hospital's lung window."""
    pixel = min(hu.shape) / 128
    noise = blur(rng.standard_normal(hu.shape, dtype=np.float32), 0.6 * pixel)
    noise *= np.float32(look.ct_noise * rng.uniform(0.8, 1.25)) / max(float(noise.std()), 1e-6)
    hu = blur(hu, look.ct_blur * pixel) + noise
    low, high = look.window_hu
    return np.clip((hu - np.float32(low)) / np.float32(high - low), 0, 1)


def to_image(brightness: Plane, depth: Literal[8, 16] = 8) -> Image.Image:
    """A grey image, mode L, or I;16 for 16 bits."""
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    if depth == 16:
        pixels = np.rint(brightness * 65535).astype(np.uint16)
    else:
        pixels = np.rint(brightness * 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _collimate(rng: np.random.Generator, look: Look, image: Plane) -> None:
    """Shutters leave an unexposed, here dark, border that differs from picture to picture."""
    if look.collimation == 0:
        return
    height, width = image.shape
    top, bottom = (round(height * look.collimation * rng.uniform(0, 1)) for _ in range(2))
    left, right = (round(width * look.collimation * rng.uniform(0, 1)) for _ in range(2))
    image[:top] = 0.03
    image[height - bottom :] = 0.03
    image[:, :left] = 0.03
    image[:, width - right :] = 0.03


def _mark(rng: np.random.Generator, look: Look, image: Plane) -> Plane:
    """The side marker: R beside the patient's right, the viewer's left, or L opposite; or a burnt-in box."""
    height, width = image.shape
    label = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(label)
    if look.marker == "box":
        box_height, box_width = height * 0.06, width * 0.22
        draw.rectangle((width * 0.02, height * 0.02, width * 0.02 + box_width, height * 0.02 + box_height), fill=235)
        for line in (0.33, 0.66):
            y = height * 0.02 + box_height * line
            draw.line((width * 0.035, y, width * rng.uniform(0.14, 0.22), y), fill=60)
    else:
        left = rng.random() < 0.5
        x = width * (rng.uniform(0.04, 0.10) if left else rng.uniform(0.88, 0.93))
        font = ImageFont.load_default(size=max(8, round(height * 0.075)))
        draw.text((x, height * rng.uniform(0.02, 0.10)), "R" if left else "L", fill=245, font=font)
    written = np.asarray(label, dtype=np.float32) / np.float32(255)
    # A letter is lead on the cassette and only brightens; the box is burnt in and hides what lies under it.
    return np.where(written > 0, written, image) if look.marker == "box" else np.maximum(image, written)
