"""The chest of one patient, and what ails it, as the X-ray drawing needs them."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax", "Nodule", "Consolidation", "Atelectasis")

Point = tuple[float, float]


@dataclass(frozen=True)
class Chest:
    """Sizes in body units (see ``Pose``). ``side`` -1 is the patient's right, which the viewer sees on the left."""

    lung_half_width: float
    apex: float
    dome: dict[int, float]
    heart_radii: Point
    heart_centre: Point
    soft_tissue: float
    aortic_knob: float
    female: bool
    rib_spacing: float
    rib_slope: float
    gastric_bubble: float
    texture_seed: int


@dataclass(frozen=True)
class Effusion:
    side: int
    level: float
    opacity: float


@dataclass(frozen=True)
class Pneumothorax:
    side: int
    gap: float


@dataclass(frozen=True)
class Nodule:
    centre: Point
    radius: float
    opacity: float


@dataclass(frozen=True)
class Consolidation:
    centre: Point
    radii: Point
    opacity: float
    texture_seed: int


@dataclass(frozen=True)
class Atelectasis:
    side: int
    bands: tuple[tuple[Point, Point], ...]
    volume_loss: float
    opacity: float


@dataclass(frozen=True)
class Pathology:
    """What is drawn over a healthy chest; ``heart_scale`` above 1 is cardiomegaly."""

    heart_scale: float = 1.0
    effusions: tuple[Effusion, ...] = ()
    pneumothorax: Pneumothorax | None = None
    nodules: tuple[Nodule, ...] = field(default=())
    consolidations: tuple[Consolidation, ...] = ()
    atelectasis: Atelectasis | None = None


def draw_chest(rng: np.random.Generator, female: bool) -> Chest:
    """A healthy chest; the heart is 42 to 50 % as wide as the lungs, the usual limit of normal."""
    half_width = rng.normal(0.71 if not female else 0.67, 0.035)
    heart_share = rng.uniform(0.40, 0.49)
    right_dome = rng.normal(0.47, 0.05)
    return Chest(
        lung_half_width=half_width,
        apex=rng.normal(-0.75, 0.03),
        dome={-1: right_dome, 1: right_dome + rng.uniform(0.02, 0.09)},
        heart_radii=(half_width * heart_share, half_width * heart_share * rng.uniform(0.78, 0.95)),
        heart_centre=(half_width * heart_share * rng.uniform(0.30, 0.42), rng.normal(0.24, 0.03)),
        soft_tissue=rng.uniform(0.08, 0.20),
        aortic_knob=rng.uniform(0.02, 0.07),
        female=female,
        rib_spacing=rng.uniform(0.125, 0.15),
        rib_slope=rng.uniform(0.10, 0.22),
        gastric_bubble=rng.uniform(0.0, 0.13),
        texture_seed=int(rng.integers(2**31)),
    )


def draw_pathology(rng: np.random.Generator, chest: Chest, present: Collection[str]) -> Pathology:
    """Lesions for the findings that are present, each as conspicuous or subtle as chance has it.

    Every finding draws from its own stream, so one finding's lesion is the same whatever else is present.
    """
    streams = dict(zip(FINDINGS, rng.spawn(len(FINDINGS)), strict=True))
    return Pathology(
        heart_scale=float(streams["Cardiomegaly"].uniform(1.13, 1.40)) if "Cardiomegaly" in present else 1.0,
        effusions=_effusions(streams["Effusion"], chest) if "Effusion" in present else (),
        pneumothorax=_pneumothorax(streams["Pneumothorax"]) if "Pneumothorax" in present else None,
        nodules=_nodules(streams["Nodule"], chest) if "Nodule" in present else (),
        consolidations=_consolidations(streams["Consolidation"], chest) if "Consolidation" in present else (),
        atelectasis=_atelectasis(streams["Atelectasis"], chest) if "Atelectasis" in present else None,
    )


def _side(rng: np.random.Generator) -> int:
    return int(rng.choice([-1, 1]))


def _inside_lung(rng: np.random.Generator, chest: Chest, side: int, top: float, bottom: float) -> Point:
    """A point well inside the lung field; v between the shares ``top`` and ``bottom`` of apex to dome."""
    share = rng.uniform(top, bottom)
    v = chest.apex + share * (chest.dome[side] - chest.apex)
    innermost = 0.24 if side < 0 or share < 0.5 else 0.40
    reach = chest.lung_half_width * min(1.0, 0.55 + 0.9 * share) - 0.12
    return side * rng.uniform(innermost, max(innermost + 0.05, reach)), v


def _effusions(rng: np.random.Generator, chest: Chest) -> tuple[Effusion, ...]:
    sides = [-1, 1] if rng.random() < 0.3 else [_side(rng)]
    return tuple(
        Effusion(side, chest.dome[side] + 0.08 - 0.50 * rng.beta(1.5, 2.0), rng.uniform(0.8, 1.0)) for side in sides
    )


def _pneumothorax(rng: np.random.Generator) -> Pneumothorax:
    return Pneumothorax(_side(rng), 0.08 + 0.24 * rng.beta(1.3, 1.8))


def _nodules(rng: np.random.Generator, chest: Chest) -> tuple[Nodule, ...]:
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    return tuple(
        Nodule(
            _inside_lung(rng, chest, _side(rng), 0.15, 0.9),
            0.055 + 0.08 * rng.beta(1.3, 2.0),
            rng.uniform(0.20, 0.40),
        )
        for _ in range(count)
    )


def _consolidations(rng: np.random.Generator, chest: Chest) -> tuple[Consolidation, ...]:
    sides = [-1, 1] if rng.random() < 0.25 else [_side(rng)]
    return tuple(
        Consolidation(
            _inside_lung(rng, chest, side, 0.3, 0.95),
            (rng.uniform(0.13, 0.26), rng.uniform(0.13, 0.28)),
            rng.uniform(0.22, 0.44),
            int(rng.integers(2**31)),
        )
        for side in sides
    )


def _atelectasis(rng: np.random.Generator, chest: Chest) -> Atelectasis:
    side = _side(rng)
    loss = rng.uniform(0.05, 0.17)
    bands = []
    for _ in range(int(rng.integers(1, 4))):
        u, v = _inside_lung(rng, chest, side, 0.6, 0.88)
        length, rise = rng.uniform(0.10, 0.20), rng.uniform(-0.06, 0.06)
        bands.append(((u - length, v - loss + rise), (u + length, v - loss - rise)))
    return Atelectasis(side, tuple(bands), loss, rng.uniform(0.14, 0.28))
