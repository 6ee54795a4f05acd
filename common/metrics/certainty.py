"""How certain an area under the ROC curve is by the number of images alone, and means that go by it.

Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic curve", Radiology 143
(1982), 29-36. With one positive an area is a coin toss: a plain mean over findings that holds it moves by its chance.
"""

import math
from collections.abc import Iterable

USUAL_AREA = 0.7
"""The area that weights are worked out at. At its own, an area that came out near 1 by chance would look certain."""

WANTED_ERROR = 0.05
"""Standard error below which an area says something: its 95 % interval is about 0.2 wide."""


def area_variance(positives: int, negatives: int, area: float = USUAL_AREA) -> float:
    """Of the area of so many images, one a patient; both counts from 1 on."""
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (two_positives - area**2)
    return (spread + (negatives - 1) * (two_negatives - area**2)) / (positives * negatives)


def positives_needed(error: float = WANTED_ERROR, area: float = USUAL_AREA) -> int:
    """The fewest positives whose area has this standard error, among as many negatives as one likes."""
    return math.ceil((2 * area**2 / (1 + area) - area**2) / error**2)


def certain_mean(rows: Iterable[tuple[float | None, int, int]]) -> float | None:
    """Mean of areas, each with its positives and negatives, by the inverse of their variance; None where there is none.

    The weights are those of the numbers of images, and so the same in every round."""
    found = [(area, 1 / area_variance(positives, negatives)) for area, positives, negatives in rows if area is not None]
    total = sum(weight for _, weight in found)
    return sum(area * weight for area, weight in found) / total if found else None
