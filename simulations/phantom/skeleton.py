"""The bones of a frontal X-ray: ribs behind and in front, clavicles, shoulder blades, spine."""

import numpy as np

from fedthorax.simulations.phantom.canvas import Plane, Pose, Stroke
from fedthorax.simulations.phantom.chest import Chest


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
