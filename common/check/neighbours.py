"""Pictures far flatter, darker or brighter than the others of their folder or scanner.

That is how a fault of an export or of a decoder shows: a window forgotten, 12 bits taken for 16, one grey.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.check.facts import GREYS, ImageFacts
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, kind, names
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import ImageRef

_FEWEST = 20  # fewer are no neighbourhood
_FLATTER = 3  # times less between the dark and the bright pixels than half of the neighbours have
_DEVIATIONS, _LEAST_STEP = 6, 60  # of mean grey; a normal deviation is 1.4826 median absolute deviations
_DARK, _BRIGHT = 1, GREYS - 2  # a tenth of the pixels is darker, a tenth brighter


def neighbour_issues(images: Sequence[LabelledImage], facts: Mapping[ImageRef, ImageFacts]) -> list[Issue]:
    """One issue a modality, the flattest first; each picture is compared with all, its folder and its scanner."""
    issues = []
    for modality in KINDS:
        ours = [image for image in images if image.modality == modality and image.ref in facts]
        if len(ours) < _FEWEST:
            continue
        greys = np.array([list(facts[image.ref].greys) for image in ours], np.float64)
        odd = odd_among(greys, _neighbourhoods(ours))
        if odd.any():
            spread = greys[:, _BRIGHT] - greys[:, _DARK]
            found = [ours[row] for row in sorted(np.flatnonzero(odd), key=lambda row: spread[row])]
            issues.append(
                Issue("unlike-neighbours", len(found), _words(modality, found, len(ours)), names(found), modality)
            )
    return issues


def odd_among(greys: NDArray[np.float64], neighbourhoods: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Which of N pictures, by ``greys`` of ImageFacts (N, GREYS), are unlike the rows of a neighbourhood of theirs."""
    spread, mean = greys[:, _BRIGHT] - greys[:, _DARK], greys.mean(axis=1)
    odd = np.zeros(len(greys), bool)
    for rows in neighbourhoods:
        distance = np.abs(mean[rows] - np.median(mean[rows]))
        usual = max(_LEAST_STEP, _DEVIATIONS * 1.4826 * float(np.median(distance)))
        odd[rows] |= (spread[rows] < np.median(spread[rows]) / _FLATTER) | (distance > usual)
    return odd


def _neighbourhoods(images: Sequence[LabelledImage]) -> list[list[int]]:
    rows: dict[tuple[str, str], list[int]] = {("all", ""): list(range(len(images)))}
    for row, image in enumerate(images):
        rows.setdefault(("folder", str(PurePosixPath(image.name).parent)), []).append(row)
        if image.attributes.scanner:
            rows.setdefault(("scanner", image.attributes.scanner), []).append(row)
    return [group for group in rows.values() if len(group) >= _FEWEST]


def _words(modality: Modality, found: Sequence[LabelledImage], number: int) -> str:
    are = "is" if len(found) == 1 else "are"
    return (
        f"{len(found):,} of {kind(modality, number)} {are} far flatter, darker or brighter than most of the folder or "
        "scanner"
    )
