"""How often two findings stand on the same X-ray, where that may be told."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.messages.statistics import Pair, Table
from fedthorax.common.metrics.suppression import is_small, rounded

NEVER_KNOWN = "no X-ray has a known label for both"
HIDDEN_PAIR = "one of the four combinations of the two has too few patients, or a count of one of them is hidden"


def finding_pairs(
    targets: NDArray[np.float32],
    patients: NDArray[np.int64],
    findings: Sequence[str],
    tables: Mapping[str, Table],
    policy: PrivacyConfig,
) -> tuple[Pair, ...]:
    """One entry for every two findings.

    ``targets`` is (N, findings) with 1, 0 or NaN, ``patients`` (N,) numbers them, ``tables`` are the findings' own
    counts as shown. Together with these, a pair's count gives away three more: one finding without the other, the other
    without the one, and neither. So it is shown only if none of the four is of few patients.
    """
    present, known = targets == 1, ~np.isnan(targets)
    found = []
    for (i, one), (j, other) in combinations(enumerate(findings), 2):
        images: int | None = None
        reason: str | None = None
        if not np.any(known[:, i] & known[:, j]):
            reason = NEVER_KNOWN
        elif any(tables[name].cells["present"] is None for name in (one, other)) or any(
            is_small(num_patients(patients, rows), policy) for rows in _four(present[:, i], present[:, j])
        ):
            reason = HIDDEN_PAIR
        else:
            images = rounded(int(np.sum(present[:, i] & present[:, j])), policy)
        found.append(Pair(findings=(one, other), images=images, reason=reason))
    return tuple(found)


def num_patients(patients: NDArray[np.int64], rows: NDArray[np.bool_]) -> int:
    """Different patients among the chosen rows."""
    return int(np.unique(patients[rows]).size)


def _four(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[np.bool_], ...]:
    return one & other, one & ~other, ~one & other, ~one & ~other
