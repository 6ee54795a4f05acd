"""Nearly the same picture more than once: on two sides of a split, under two labels."""

from collections.abc import Mapping, Sequence

from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.hospital.copies import Group, across_splits, grouped_issue
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, differ, splits_of
from fedthorax.common.issues.issue import Issue
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
