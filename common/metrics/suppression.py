"""Which counts of a table may be shown, so that the others cannot be computed from them.

A count of 1 to ``smallest_count - 1`` patients is *small* and is hidden. Whoever knows the table's exact total and this
module must not be able to undo that. Three rules, each safe for a reason that does not depend on secrets:

1. A table with so few patients that every count could be small is hidden whole, zeros too. Only the number of patients
   decides, so its being hidden says nothing about what stands in it.
2. If the rounding of the shown counts leaves at least two values open for every small count, only these are hidden. The
   decision can be repeated from what is shown: any such value is as consistent with it as the true one.
3. Otherwise the smallest of the other counts is hidden too (all of them, where several are equally small). No rule
   looks at names, so exchanging the values of any two hidden counts gives the same output: each may be the large one.

A count of 0 is shown as 0: nobody stands behind it. Background: L. Willenborg and T. de Waal, Elements of Statistical
Disclosure Control, Springer 2001, chapters 4 and 5 (complementary suppression, rounding).

Groups: whoever has the figures of men, of women and of everyone has those of the few whose sex is not known. So the
images outside all groups that are told must be none, or of people enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.privacy import PrivacyConfig


@dataclass(frozen=True)
class Count:
    """Images in a cell of a table, and of how many different patients they are."""

    images: int
    patients: int


def shown_counts(cells: Mapping[str, Count], patients: int, policy: PrivacyConfig) -> dict[str, int | None]:
    """Images in each cell, rounded, or None where they are hidden.

    ``cells`` are a partition of some images; ``patients`` is the number of different patients in all of them.
    """
    if may_all_be_small(len(cells), patients, policy):
        return dict.fromkeys(cells)
    small = {name for name, count in cells.items() if is_small(count.patients, policy)}
    hidden = small
    if small and not _rounding_protects(cells, small, policy):
        others = {name: count for name, count in cells.items() if count.images and name not in small}
        smallest = min((count.patients, count.images) for count in others.values())
        hidden = small | {name for name, count in others.items() if (count.patients, count.images) == smallest}
    return {name: None if name in hidden else rounded(count.images, policy) for name, count in cells.items()}


def may_all_be_small(num_cells: int, patients: int, policy: PrivacyConfig) -> bool:
    """Whether ``patients`` are so few that none of the table's counts need reach the smallest that is shown.

    Otherwise one does: each patient stands in at least one cell.
    """
    return 0 < patients <= num_cells * (policy.smallest_count - 1)


def is_small(patients: int, policy: PrivacyConfig) -> bool:
    return 0 < patients < policy.smallest_count


def rounded(images: int, policy: PrivacyConfig) -> int:
    """The nearest multiple of ``round_to``, the higher one of two; never 0 for a count that may be shown."""
    return (images + policy.round_to // 2) // policy.round_to * policy.round_to


def shown_total(images: int, patients: int, policy: PrivacyConfig) -> int | None:
    return None if is_small(patients, policy) else rounded(images, policy)


def _rounding_protects(cells: Mapping[str, Count], small: set[str], policy: PrivacyConfig) -> bool:
    """Whether at least two values are open for each count of ``small``, the exact total being known."""
    largest = policy.smallest_count - 1
    if any(cells[name].images > largest for name in small):  # few patients with many images stand out by their number
        return False
    shown = [rounded(count.images, policy) for name, count in cells.items() if count.images and name not in small]
    least = sum(max(policy.smallest_count, value - policy.round_to // 2) for value in shown)
    most = sum(value + (policy.round_to - 1) // 2 for value in shown)
    total = sum(count.images for count in cells.values())
    num_others = len(small) - 1
    lowest = max(1, total - most - num_others * largest)
    highest = min(largest, total - least - num_others)
    return highest > lowest


Mask = NDArray[np.bool_]


def safe_groups(
    told: Iterable[str],
    member: Mapping[str, Mask],
    kinds: Sequence[Mask],
    patients: NDArray[np.str_],
    policy: PrivacyConfig,
) -> set[str]:
    """The groups of ``told`` that may be told together: without the smallest where need be.

    All masks are (N,): the images of each group, and of ``kinds`` those that must not be few, such as the images with a
    label and those without it. Groups of equally few people go together, so that a name decides nothing.
    """

    def people(images: Mask) -> int:
        return len(set(patients[images]))

    left = set(told)
    while left:
        outside = ~np.any([member[name] for name in left], axis=0)
        if not any(is_small(people(kind & outside), policy) for kind in kinds):
            break
        sizes = {name: people(np.any(kinds, axis=0) & member[name]) for name in left}
        left -= {name for name in left if sizes[name] == min(sizes.values())}
    return left
