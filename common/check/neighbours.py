"""Pictures far flatter, darker or brighter than the others of their folder or scanner, and those nearly the same.

That is how a fault of an export or of a decoder shows: a window forgotten, 12 bits taken for 16, one grey.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.check.facts import GREYS, ImageFacts
from fedthorax.common.hospital.copies import Group, across_splits, grouped_issue
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, differ, kind, names, splits_of
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.pixels.perceptual_hash import HASH_BYTES, SIDE, as_rows, near_pairs
from fedthorax.common.records.records import ImageRef


def near_pictures(images: Sequence[LabelledImage], facts: Mapping[ImageRef, ImageFacts]) -> list[Group]:
    """Pairs of one modality that show nearly the same picture, but not the same pixels.

    Of images with equal pixels one stands for all, so that many copies do not make many pairs.
    """
    pairs: list[Group] = []
    for modality in KINDS:
        first: dict[str, LabelledImage] = {}
        for image in images:
            if image.modality == modality and image.ref in facts:
                first.setdefault(facts[image.ref].digest, image)
        chosen = list(first.values())
        if len(chosen) > 1:
            hashes = as_rows([facts[image.ref].hash for image in chosen], HASH_BYTES)
            signatures = as_rows([facts[image.ref].signature for image in chosen], SIDE * SIDE)
            pairs += [(chosen[left], chosen[right]) for left, right in near_pairs(hashes, signatures)]
    return pairs


def near_duplicate_issues(pairs: Sequence[Group]) -> list[Issue]:
    issues = []
    for modality in KINDS:
        ours = [pair for pair in pairs if pair[0].modality == modality]
        torn = [pair for pair in ours if len(splits_of(pair)) > 1]
        issues += across_splits(torn, modality, "near-duplicate-across-splits", "nearly the same picture as")
        for code, pairs_of_code, words in (
            ("near-duplicate-different-labels", [pair for pair in ours if differ(pair)], ", under different labels"),
            ("near-duplicate-within-split", [pair for pair in ours if len(splits_of(pair)) < 2], ""),
        ):
            issues += grouped_issue(pairs_of_code, modality, code, "pair", f"show nearly the same picture, {{}}{words}")
    return issues


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
