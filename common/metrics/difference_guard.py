"""Which groups' figures must be hidden so that nobody can compute those of a handful of people as a difference.

A hospital tells figures of all its test images, of each group, and of all images outside it. Whoever has those of men,
of women and of everyone has those of the few whose sex is not known. So the images outside all groups that are told
must be none, or of people enough. Willenborg and de Waal, Elements of Statistical Disclosure Control, Springer 2001
(complementary suppression).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.suppression import is_small

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
