"""An axial CT slice of the chest in Hounsfield units, seen from the feet: the patient's right is on the left."""

import numpy as np

from fedthorax.simulations.phantom.canvas import Plane, Pose, Stroke, branches, ellipse, smooth_noise, step
from fedthorax.simulations.phantom.thorax import Thorax, Tumour

AIR_HU = -1000.0
FAT_HU = -95.0
MUSCLE_HU = 50.0
BONE_HU = 420.0
GROUND_GLASS_HU = -560.0

# Centre of the vertebral body as a share of the way from the middle of the chest to its back wall.
_VERTEBRA = 0.84
_HILA = ((-0.20, 0.05), (0.22, 0.05))


def draw_slice(thorax: Thorax, tumour: Tumour | None, pose: Pose, level: float) -> Plane:
    """Hounsfield units, shape (height, width). ``level`` runs from 0, the aortic arch, to 1, mid-heart."""
    u, v = pose.body_grid()
    texture = np.random.default_rng(thorax.texture_seed)
    blood = MUSCLE_HU - 10 + thorax.contrast_hu

    outline = ellipse(u, v, (0.0, 0.0), thorax.body)
    outline = outline - 0.05 * np.exp(-((u / 0.12) ** 2)) * (v < 0)
    inside = step(outline, 0.012)
    hu = AIR_HU + inside * (FAT_HU - AIR_HU)
    hu = _mix(hu, MUSCLE_HU, step(outline - thorax.fat, 0.015))
    hu = _table(u, v, thorax, hu)

    central, great_vessels = _mediastinum(u, v, thorax, level)
    cage = ellipse(u, v, (0.0, 0.01), _cage(thorax)) + 0.012 * np.sin(9 * np.arctan2(v, u)) * 0.4
    lung_distance = _round_corners(cage, -central)
    lungs = step(lung_distance, 0.012)
    hu = _mix(hu, FAT_HU + 40, step(central, 0.02) * step(cage, 0.02))
    hu = _mix(hu, blood, great_vessels)
    hu = _bones(u, v, pose, thorax, hu)
    for airway in _airways(level):
        hu = _mix(hu, AIR_HU + 20, step(ellipse(u, v, *airway), 0.01))

    # Gravity: the patient lies on the back, so the dependent lung holds more blood.
    lung_hu = thorax.lung_hu + 70 * np.clip(v / 0.5, -1, 1) + 18 * smooth_noise(texture, u.shape, 22)
    tree = branches(texture, _HILA, 0.56, stems=7, width=0.030)
    dots = [_dot(texture) for _ in range(46)]
    # A slice cuts most vessels across: only part of a tree lies in its plane.
    seen = [stroke for stroke in tree if texture.random() < 0.62] + dots
    lung_hu = lung_hu + pose.strokes(seen) * (780 + 0.4 * thorax.contrast_hu)
    hu = hu + lungs * (np.minimum(lung_hu, blood) - hu)
    if tumour is not None:
        hu = _grow(u, v, pose, tumour, level, hu, lungs, cage)
    return hu.astype(np.float32)


def _mix(hu: Plane, value: float, share: Plane) -> Plane:
    return hu + share * (np.float32(value) - hu)


def _cage(thorax: Thorax) -> tuple[float, float]:
    return thorax.body[0] - thorax.fat - thorax.wall, thorax.body[1] - thorax.fat - thorax.wall


def _round_corners(first: Plane, second: Plane, softness: float = 0.035) -> Plane:
    """A smooth minimum of two distances: the intersection of two shapes with rounded corners."""
    gap = np.clip(0.5 + 0.5 * (second - first) / (2 * softness), 0, 1)
    return second + gap * (first - second) - 2 * softness * gap * (1 - gap) * 0.5


def _mediastinum(u: Plane, v: Plane, thorax: Thorax, level: float) -> tuple[Plane, Plane]:
    """Distance inside the mediastinum, and the share of each pixel that is heart or great vessel."""
    front, back = -_cage(thorax)[1], _cage(thorax)[1]
    band = np.interp(v, [front, front * 0.5, 0.0, back * 0.6, back], [0.05, 0.10, 0.15, 0.13, 0.16]).astype(np.float32)
    central = band - np.abs(u)
    size = 0.35 + 0.65 * level
    heart = ellipse(u, v, (0.10 * level, -0.12), (thorax.heart[0] * size + 0.03, thorax.heart[1] * size + 0.02), 28)
    descending = ellipse(u, v, (0.14, back * (_VERTEBRA - 0.30)), (thorax.aorta, thorax.aorta))
    if level < 0.25:
        root = ellipse(u, v, (0.04, -0.06), (0.16, 0.085), 38)
    else:
        root = ellipse(u, v, (-0.07, -0.10), (thorax.aorta * 1.25, thorax.aorta * 1.25))
    cava = ellipse(u, v, (-0.14, -0.08), (0.045, 0.05))
    pulmonary = ellipse(u, v, (0.02, 0.0), (0.23, 0.06), -12) if 0.25 <= level < 0.6 else np.full_like(u, -1)
    vertebra = ellipse(u, v, (0.0, back * _VERTEBRA), (0.125, 0.12))
    blood = np.maximum.reduce([heart if level > 0.35 else root, descending, root, cava, pulmonary])
    return np.maximum.reduce([central, heart, vertebra, blood + 0.02]), step(blood, 0.012)


def _airways(level: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    if level < 0.3:
        return [((-0.01, 0.10), (0.05, 0.055))]
    spread = 0.08 + 0.12 * (level - 0.3)
    radius = 0.045 - 0.02 * (level - 0.3)
    return [((-spread, 0.10), (radius, radius * 0.9)), ((spread, 0.11), (radius, radius * 0.9))]


def _bones(u: Plane, v: Plane, pose: Pose, thorax: Thorax, hu: Plane) -> Plane:
    width, height = _cage(thorax)
    back = height * _VERTEBRA
    body = step(ellipse(u, v, (0.0, back), (0.10, 0.085)), 0.012)
    hu = _mix(hu, BONE_HU - 180, body)
    hu = hu + 200 * body * step(0.018 - np.abs(ellipse(u, v, (0.0, back), (0.10, 0.085))), 0.012)
    processes = [
        Stroke([(0.0, back + 0.13), (0.0, back + 0.27)], 0.035),
        Stroke([(-0.07, back + 0.10), (-0.20, back + 0.14)], 0.04),
        Stroke([(0.07, back + 0.10), (0.20, back + 0.14)], 0.04),
        Stroke(
            [(-0.06, back + 0.06), (-0.07, back + 0.13), (0.0, back + 0.17), (0.07, back + 0.13), (0.06, back + 0.06)],
            0.035,
        ),
        Stroke([(-0.08, -height - 0.015), (0.08, -height - 0.015)], 0.05),
    ]
    # Ribs run obliquely, so an axial slice meets each of them as a short arc along the chest wall.
    for start in (-58, -22, 14, 50):
        for side in (-1, 1):
            angles = np.deg2rad(np.linspace(start, start + 21, 6))
            radii = width + 0.03, height + 0.03
            points = [(side * radii[0] * float(np.cos(a)), radii[1] * float(np.sin(a))) for a in angles]
            processes += [Stroke(points, 0.038, 255), Stroke(points, 0.014, 170)]
    share = pose.strokes(processes)
    return np.where(share > 0, np.maximum(hu, hu + share * (np.float32(BONE_HU + 80) - hu)), hu)


def _table(u: Plane, v: Plane, thorax: Thorax, hu: Plane) -> Plane:
    top = thorax.body[1] + 0.02 - 0.10 * u**2
    shell = step(0.012 - np.abs(v - top - 0.015), 0.01) * (np.abs(u) < 0.75)
    return np.maximum(hu, AIR_HU + 650 * shell)


def _dot(rng: np.random.Generator) -> Stroke:
    angle, share = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.1, 0.9))
    u, v = 0.62 * share * np.cos(angle), 0.42 * share * np.sin(angle)
    width = rng.uniform(0.012, 0.028)
    return Stroke([(float(u), float(v)), (float(u) + width * 0.6, float(v))], width, int(rng.integers(120, 230)))


def _grow(u: Plane, v: Plane, pose: Pose, tumour: Tumour, level: float, hu: Plane, lungs: Plane, cage: Plane) -> Plane:
    """The tumour in this slice: a slice away from its level shows less of it, never nothing."""
    shape = np.random.default_rng(tumour.shape_seed)
    radius = tumour.radius * max(0.55, float(np.sqrt(max(0.0, 1 - (4 * (level - tumour.level)) ** 2))))
    du, dv = u - np.float32(tumour.centre[0]), v - np.float32(tumour.centre[1])
    distance, angle = np.sqrt(du * du + dv * dv), np.arctan2(dv, du)
    ragged = 0.05 if tumour.cancer_class == "squamous.cell.carcinoma" else 0.10
    border = np.float32(radius) * np.ones_like(u)
    for waves in (2, 3, tumour.lobes):
        border += np.float32(radius * ragged * shape.uniform(0.5, 1.2)) * np.cos(waves * angle + shape.uniform(0, 6.28))
    within = step(cage + 0.02, 0.02)
    mass = step(border - distance, 0.010) * within
    if tumour.halo > 0:
        cloud = 0.25 * radius * smooth_noise(shape, u.shape, 14)
        halo = step(border * np.float32(tumour.halo) + cloud - distance, 0.05) * lungs
        hu = np.maximum(hu, hu + 0.9 * halo * (GROUND_GLASS_HU - hu))
    if tumour.spicules:
        turns = np.linspace(0, 2 * np.pi, tumour.spicules, endpoint=False) + shape.normal(0, 0.2, tumour.spicules)
        lengths = radius * shape.uniform(1.3, 2.2, tumour.spicules)
        spicules = pose.strokes(
            Stroke(
                [
                    tumour.centre,
                    (tumour.centre[0] + n * float(np.cos(t)), tumour.centre[1] + n * float(np.sin(t))),
                ],
                0.014,
            )
            for t, n in zip(turns, lengths, strict=True)
        )
        hu = np.maximum(hu, hu + 0.75 * spicules * lungs * (tumour.hu - hu))
    hu = np.maximum(hu, hu + mass * (tumour.hu + 12 * smooth_noise(shape, u.shape, 30) - hu))
    if tumour.cavity > 0:
        off = shape.normal(0, 0.12, 2) * radius
        hole = step(border * np.float32(tumour.cavity) - np.sqrt((du - off[0]) ** 2 + (dv - off[1]) ** 2), 0.012)
        hu = hu + hole * (AIR_HU + 60 - hu)
    return hu
