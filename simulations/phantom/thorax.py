"""The thorax of one patient in cross-section, and its tumour, as the CT drawing needs them."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

CANCER_CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")

Point = tuple[float, float]


class _Look(TypedDict):
    hu: float
    halo: float
    cavity: float
    lobes: int
    spicules: int


@dataclass(frozen=True)
class Thorax:
    """Sizes in body units. ``contrast_hu`` is added to vessels and heart: contrast medium, 0 where none was given."""

    body: Point
    fat: float
    wall: float
    heart: Point
    aorta: float
    lung_hu: float
    contrast_hu: float
    texture_seed: int


@dataclass(frozen=True)
class Tumour:
    """One tumour; ``level`` is the height in the chest (see ``draw_slice``) at which it is largest."""

    cancer_class: str
    centre: Point
    radius: float
    level: float
    hu: float
    halo: float
    cavity: float
    lobes: int
    spicules: int
    shape_seed: int


def draw_thorax(rng: np.random.Generator) -> Thorax:
    width = rng.normal(0.86, 0.035)
    return Thorax(
        body=(width, width * rng.uniform(0.70, 0.80)),
        fat=rng.uniform(0.03, 0.09),
        wall=rng.uniform(0.09, 0.12),
        heart=(rng.uniform(0.24, 0.30), rng.uniform(0.19, 0.24)),
        aorta=rng.uniform(0.055, 0.075),
        lung_hu=rng.normal(-850, 25),
        contrast_hu=float(rng.choice([0.0, rng.uniform(80, 220)])),
        texture_seed=int(rng.integers(2**31)),
    )


def draw_tumour(rng: np.random.Generator, thorax: Thorax, cancer_class: str) -> Tumour | None:
    """A tumour where and as this class tends to grow; None for ``normal``.

    Adenocarcinoma: peripheral, irregular, spiculated, often with a ground-glass halo. Large cell carcinoma: a large,
    lobulated, peripheral mass. Squamous cell carcinoma: central, at the hilum, sometimes with a cavity.
    """
    if cancer_class == "normal":
        return None
    side = int(rng.choice([-1, 1]))
    half_width = thorax.body[0] - thorax.fat - thorax.wall
    half_height = thorax.body[1] - thorax.fat - thorax.wall
    angle = np.deg2rad(rng.uniform(-62, 62))
    if cancer_class == "squamous.cell.carcinoma":
        radius = rng.uniform(0.075, 0.145)
        centre = side * (0.20 + 0.55 * radius + rng.uniform(0, 0.05)), rng.uniform(-0.08, 0.14)
        cavity = rng.uniform(0.4, 0.65) if rng.random() < 0.35 else 0.0
        look: _Look = {"hu": rng.uniform(20, 60), "halo": 0.0, "cavity": cavity, "lobes": 5, "spicules": 0}
    elif cancer_class == "large.cell.carcinoma":
        radius = rng.uniform(0.11, 0.20)
        share = 1 - radius / half_width * rng.uniform(0.8, 1.2)
        centre = side * half_width * share * np.cos(angle), half_height * share * np.sin(angle)
        look = {"hu": rng.uniform(10, 50), "halo": 0.0, "cavity": 0.0, "lobes": int(rng.integers(5, 9)), "spicules": 0}
    elif cancer_class == "adenocarcinoma":
        radius = rng.uniform(0.045, 0.10)
        share = rng.uniform(0.70, 0.88)
        centre = side * half_width * share * np.cos(angle), half_height * share * np.sin(angle)
        halo = rng.uniform(1.4, 2.4) if rng.random() < 0.7 else 0.0
        spicules = int(rng.integers(6, 13))
        look = {"hu": rng.uniform(-60, 40), "halo": halo, "cavity": 0.0, "lobes": 4, "spicules": spicules}
    else:
        raise ValueError(
            f"there is no phantom for the CT class {cancer_class!r}; known are {', '.join(CANCER_CLASSES)}"
        )
    return Tumour(
        cancer_class=cancer_class,
        centre=(float(centre[0]), float(centre[1])),
        radius=radius,
        level=rng.uniform(0.25, 0.75),
        shape_seed=int(rng.integers(2**31)),
        **look,
    )
