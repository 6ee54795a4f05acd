"""A frontal chest X-ray: attenuation summed along the beam, bone bright, air dark."""

import numpy as np

from fedthorax.simulations.phantom.canvas import Plane, Pose, Stroke, branches, ellipse, smooth_noise, step
from fedthorax.simulations.phantom.chest import Chest, Pathology

_APEX_CENTRE = 0.28
_LUNG_CENTRE = 0.34
_HILA = ((-0.19, -0.04), (0.21, -0.08))


def draw_xray(chest: Chest, pathology: Pathology, pose: Pose) -> Plane:
    """Brightness in about [0, 1], shape (height, width), before the scanner adds its blur, noise and tone."""
    u, v = pose.body_grid()
    texture = np.random.default_rng(chest.texture_seed)
    lungs, inner, heart = _spaces(u, v, chest, pathology)

    body = step(_torso_half_width(v, chest) - np.abs(u), 0.02)
    thickness = body * (0.80 + 0.20 * np.clip(1 - (u / 0.95) ** 2, 0, 1))
    # A heart, or fluid, takes the place of the lung behind it; ribs and vessels lie in front of and behind everything.
    air = lungs * (1 - 0.88 * heart)
    depth = 0.62 + 0.38 * np.sqrt(np.clip(inner / 0.28, 0, 1))
    image = thickness - 0.50 * air * depth

    image += 0.06 * step(ellipse(u, v, (0.0, 0.05), (0.24, 0.95)), 0.12) * body
    image += 0.09 * step(_mediastinum(u, v, chest), 0.035) * body
    image += 0.06 * heart
    for hilum in _HILA:
        image += 0.09 * step(ellipse(u, v, hilum, (0.10, 0.15)), 0.09)
    image += _abdomen(u, v, chest, pathology) * body
    image += draw_bones(pose, chest) * body
    image -= 0.13 * step(0.042 - np.abs(u - 0.01), 0.025) * step(-0.16 - v, 0.05) * body
    if chest.female:
        image += 0.09 * _breasts(u, v, chest) * body

    marks = pose.strokes(branches(texture, _HILA, chest.lung_half_width)) * 0.13
    marks += 0.016 * smooth_noise(texture, u.shape, 26) + 0.02 * smooth_noise(texture, u.shape, 6)
    if pathology.pneumothorax is not None:
        edge = _lung_distance(u, v, chest, _domes(chest, pathology), inset=pathology.pneumothorax.gap)
        free = (u * pathology.pneumothorax.side > 0) * air
        # Only the outer wall and the apex retract; at the mediastinum and the diaphragm both distances agree.
        rim = free * step(-edge, 0.012) * step(chest.dome[pathology.pneumothorax.side] - 0.05 - v, 0.1)
        pleura = free * np.exp(-((edge / 0.011) ** 2)) * step(0.9 * chest.dome[pathology.pneumothorax.side] - v, 0.1)
        # No vessels in the free air; a thin line at the edge of the lung, which is denser than before.
        marks = marks * (1 - rim)
        image += 0.14 * pleura + 0.05 * free * step(edge, 0.02) - 0.13 * rim
    image += marks * air
    image = _fluid(u, v, chest, pathology, image, lungs)
    return _opacities(u, v, pose, pathology, image, air)


def _lung_distance(u: Plane, v: Plane, chest: Chest, dome: dict[int, float], inset: float = 0.0) -> Plane:
    """Distance inside the nearest lung border, positive inside; ``inset`` moves the outer wall and apex inwards."""
    across = np.abs(u)
    side_dome = np.where(u < 0, np.float32(dome[-1]), np.float32(dome[1]))
    apex = chest.apex + inset
    outer = chest.lung_half_width - inset
    fall = (v - apex) / (side_dome + 0.2 - apex)
    bulge = np.sqrt(np.clip(1 - (1 - np.clip(fall / 0.68, 0, 1)) ** 2, 0, 1))
    wall = _APEX_CENTRE + (outer - _APEX_CENTRE) * bulge * (1 - 0.05 * np.clip(fall - 0.68, 0, 1))
    opening = np.sqrt(np.clip(1 - (1 - np.clip(fall / 0.22, 0, 1)) ** 2, 0, 1))
    medial = _APEX_CENTRE - (_APEX_CENTRE - 0.125) * opening
    lateral = np.clip((across - _LUNG_CENTRE) / (chest.lung_half_width - _LUNG_CENTRE), 0, 1.3)
    centre = np.clip((_LUNG_CENTRE - across) / _LUNG_CENTRE, 0, 1)
    floor = side_dome + 0.20 * lateral**2.4 + 0.05 * centre**2
    return np.minimum(np.minimum(wall - across, across - medial), np.minimum(floor - v, v - apex))


def _domes(chest: Chest, pathology: Pathology) -> dict[int, float]:
    dome = dict(chest.dome)
    if pathology.atelectasis is not None:
        dome[pathology.atelectasis.side] -= pathology.atelectasis.volume_loss
    return dome


def _spaces(u: Plane, v: Plane, chest: Chest, pathology: Pathology) -> tuple[Plane, Plane, Plane]:
    distance = _lung_distance(u, v, chest, _domes(chest, pathology))
    shift = 0.0
    if pathology.atelectasis is not None:
        shift = pathology.atelectasis.side * pathology.atelectasis.volume_loss * 0.35
    scale = pathology.heart_scale
    radii = chest.heart_radii[0] * scale, chest.heart_radii[1] * (0.4 + 0.6 * scale)
    centre = chest.heart_centre[0] * (0.6 + 0.4 * scale) + shift, chest.heart_centre[1]
    heart = step(ellipse(u, v, centre, radii, tilt=24), 0.025)
    base = step(ellipse(u, v, (centre[0] * 0.5, centre[1] - radii[1] * 0.75), (0.17, 0.24)), 0.04)
    return step(distance, 0.016), distance, np.maximum(heart, base)


def _torso_half_width(v: Plane, chest: Chest) -> Plane:
    flank = chest.lung_half_width + chest.soft_tissue
    levels = [-1.6, -0.98, -0.86, -0.72, -0.55, -0.2, 0.3, 0.8, 1.6]
    widths = [0.27, 0.28, 0.42, 0.85, 1.08, flank + 0.10, flank, flank + 0.01, flank + 0.03]
    return np.interp(v, levels, widths).astype(np.float32)


def _mediastinum(u: Plane, v: Plane, chest: Chest) -> Plane:
    band = np.interp(v, [-1.2, -0.6, -0.3, 0.1, 0.8], [0.10, 0.115, 0.135, 0.15, 0.14]).astype(np.float32)
    knob = ellipse(u, v, (0.11, -0.30), (0.07 + chest.aortic_knob, 0.085 + chest.aortic_knob))
    return np.maximum(band - np.abs(u), knob)


def _abdomen(u: Plane, v: Plane, chest: Chest, pathology: Pathology) -> Plane:
    dome = _domes(chest, pathology)
    below = v - np.where(u < 0, np.float32(dome[-1]), np.float32(dome[1]))
    organs = 0.04 * step(below, 0.02) + 0.14 * step(below - 0.12, 0.14)
    if chest.gastric_bubble > 0.04:
        centre = 0.33, dome[1] + 0.10 + chest.gastric_bubble * 0.5
        organs -= 0.26 * step(ellipse(u, v, centre, (chest.gastric_bubble * 1.25, chest.gastric_bubble * 0.75)), 0.025)
    return organs


def _breasts(u: Plane, v: Plane, chest: Chest) -> Plane:
    across = np.abs(u)
    radii = 0.27 + chest.soft_tissue * 0.5, 0.26
    return step(ellipse(across, v, (chest.lung_half_width * 0.72, 0.34), radii), 0.07)


def _fluid(u: Plane, v: Plane, chest: Chest, pathology: Pathology, image: Plane, lungs: Plane) -> Plane:
    """Pleural fluid: its upper border is a meniscus that climbs along the chest wall."""
    for effusion in pathology.effusions:
        across = np.clip((u * effusion.side - 0.12) / (chest.lung_half_width - 0.12), 0, 1)
        surface = effusion.level + 0.10 - 0.22 * across**2.5
        wet = step(v - surface, 0.035) * (u * effusion.side > 0) * lungs
        image = image + wet * effusion.opacity * np.clip(1.04 - image, 0, 1)
    return image


def _opacities(u: Plane, v: Plane, pose: Pose, pathology: Pathology, image: Plane, air: Plane) -> Plane:
    for patch in pathology.consolidations:
        cloud = smooth_noise(np.random.default_rng(patch.texture_seed), u.shape, 9)
        border = ellipse(u, v, patch.centre, patch.radii) + 0.045 * cloud
        image = image + patch.opacity * step(border, 0.09) * (0.85 + 0.15 * cloud) * air
    for nodule in pathology.nodules:
        border = ellipse(u, v, nodule.centre, (nodule.radius, nodule.radius * 0.94))
        image = image + nodule.opacity * step(border, 0.018) * (0.35 + 0.65 * air)
    if pathology.atelectasis is not None:
        collapsed = pathology.atelectasis
        bands = pose.strokes(Stroke(band, 0.034) for band in collapsed.bands)
        lowest = max(start[1] for start, _ in collapsed.bands)
        haze = step(v - (lowest - 0.16), 0.12) * (u * collapsed.side > 0)
        image = image + (collapsed.opacity * bands + 0.05 * haze) * air
    return image


def draw_bones(pose: Pose, chest: Chest) -> Plane:
    """What the bones add to the attenuation, shape of the pose."""
    back: list[Stroke] = []
    front: list[Stroke] = []
    collar: list[Stroke] = []
    along = np.linspace(0, 1, 17)
    for side in (-1, 1):
        for number in range(10):
            start = chest.apex + 0.02 + number * chest.rib_spacing
            reach = min(chest.lung_half_width + 0.02, 0.34 + 0.16 * number) * (1 if number < 9 else 0.9)
            u = 0.07 + (reach - 0.07) * np.sin(along * np.pi * 0.5)
            v = start - 0.035 * np.sin(along * np.pi * 0.9) + (chest.rib_slope + 0.012 * number) * along**2.6
            back += _rib([(side * float(a), float(b)) for a, b in zip(u, v, strict=True)], 0.046)
            if 1 <= number <= 6:
                inner = 0.27 + 0.045 * number
                u = reach - (reach - inner) * (1 - np.cos(along * np.pi * 0.5))
                end = start + chest.rib_slope + 0.012 * number
                v = end + 0.20 * along**0.8 + 0.03 * np.sin(along * np.pi)
                front += _rib([(side * float(a), float(b)) for a, b in zip(u, v, strict=True)], 0.052)
        u = 0.07 + 0.58 * along
        v = chest.apex + 0.13 - 0.10 * along + 0.035 * np.sin(along * 2 * np.pi)
        collar += _rib([(side * float(a), float(b)) for a, b in zip(u, v, strict=True)], 0.058)
        collar += _rib([(side * 0.80, chest.apex + 0.02), (side * 0.72, -0.42), (side * 0.78, -0.15)], 0.05)
    spine = [Stroke([(0.0, -1.5), (0.0, 1.5)], 0.16, 255)]
    for disc in np.arange(-1.4, 1.4, chest.rib_spacing):
        spine.append(Stroke([(-0.09, float(disc)), (0.09, float(disc))], 0.03, 150))
    return (
        0.085 * pose.strokes(back)
        + 0.048 * pose.strokes(front)
        + 0.10 * pose.strokes(collar)
        + 0.07 * pose.strokes(spine)
    )


def _rib(points: list[tuple[float, float]], width: float) -> list[Stroke]:
    """A tube: the cortex at its edges is brighter than the marrow."""
    return [Stroke(points, width, 255), Stroke(points, width * 0.55, 175)]
