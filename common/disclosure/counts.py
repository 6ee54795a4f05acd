"""Whether the images behind a figure are too few for it to leave, and how often two findings stand together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.allowed import Allowed, Here
from fedthorax.common.ground import leaving
from fedthorax.common.ground.leaving import Rule, rule_of
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
        first, second = present[:, i], present[:, j]
        parts = first & second, first & ~second, ~first & second, ~first & ~second
        images: int | None = None
        reason: str | None = None
        if not np.any(known[:, i] & known[:, j]):
            reason = NEVER_KNOWN
        elif any(tables[name].cells["present"] is None for name in (one, other)) or any(
            is_small(num_patients(patients, rows), policy) for rows in parts
        ):
            reason = HIDDEN_PAIR
        else:
            images = rounded(int(np.sum(parts[0])), policy)
        found.append(Pair(findings=(one, other), images=images, reason=reason))
    return tuple(found)


def num_patients(patients: NDArray[np.int64], rows: NDArray[np.bool_]) -> int:
    """Different patients among the chosen rows."""
    return int(np.unique(patients[rows]).size)


COUNTS = (leaving.Count, leaving.Shown)


def with_counts(value: BaseModel, rules: Mapping[str, Rule | None], here: Here) -> Here:
    """Where the counts of this model are too small, what is in it and below is kept."""
    found = {name: rule for name, rule in rules.items() if isinstance(rule, (*COUNTS, leaving.Behind))}
    if not found:
        return here
    around = {**here.counts, **{name: getattr(value, name) for name in found}}
    few = any(
        is_few(around[name], rule, around, here.allowed)
        for name, rule in found.items()
        if not getattr(rule, "alone", False) and not _of_others(value, rule)
    )
    return replace(here, why=here.why or (here.allowed.few if few else None), counts=around)


def _of_others(value: BaseModel, rule: Rule) -> bool:
    """Whether the figures beside the count are not of its images."""
    return (
        isinstance(rule, leaving.Behind)
        and rule.unless is not None
        and getattr(value, rule.unless[0]) == rule.unless[1]
    )


def loss_is_of_few(value: BaseModel, rule: leaving.Loss, here: Here) -> bool:
    """Whether a loss in the model ``value`` runs over so few images that it is kept."""
    for name in rule.over:
        count = _largest(getattr(value, name)) if name in type(value).model_fields else here.counts.get(name)
        if count is None or 0 < count < here.allowed.smallest:
            return True
    return False


def _largest(value: Any) -> int | None:
    """The largest count in a model or below; the count itself."""
    if isinstance(value, Mapping):
        found = [_largest(one) for one in value.values()]
    elif isinstance(value, BaseModel):
        rules = {name: rule_of(tuple(info.metadata)) for name, info in type(value).model_fields.items()}
        below = {name: getattr(value, name) for name in rules}
        found = [
            _largest(one)
            for name, one in below.items()
            if isinstance(rules[name], COUNTS) or isinstance(one, (BaseModel, Mapping))
        ]
    else:
        return value if type(value) is int else None
    return max((count for count in found if count is not None), default=None)


def is_few(count: int | None, rule: Rule | None, around: Mapping[str, int | None], allowed: Allowed) -> bool:
    if count is None:
        return True  # what it rests on is not known
    part_of = rule.part_of if isinstance(rule, COUNTS) else None
    whole = around.get(part_of) if part_of else None
    if part_of and whole is None:
        return True
    rest = None if whole is None else whole - count
    if isinstance(rule, leaving.Shown):
        return 0 < count < allowed.smallest_shown or 0 < (rest or 0) < allowed.smallest_shown
    return count < allowed.smallest or (rest is not None and rest < allowed.smallest)
