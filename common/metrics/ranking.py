"""When a figure only describes the images at hand, and at which specificity sensitivity is read."""

SPECIFICITY = 0.9
"""At which ``sensitivity_at_specificity`` is read: no more than one false alarm in ten images without the finding."""

MIN_IMAGES = 10


def is_descriptive(positives: int, known: int) -> bool:
    """Whether a figure only describes the images at hand: fewer than ``MIN_IMAGES`` positives or negatives.

    Such figures have no interval in reports and enter no comparison of models or hospitals.
    """
    return min(positives, known - positives) < MIN_IMAGES
