"""What an update must be before it is averaged; a refusal names the hospital's variable and what is wrong with it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedthorax.common.algorithms.aggregation import LIMIT, all_below
from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.messages import Reply
from fedthorax.common.model.segments import SegmentLayout

_ROUNDED_BY = 25  # most that a hospital takes off a count when it rounds: to multiples of 50


def check_update(reply: Reply, layout: SegmentLayout, segments: Iterable[str]) -> None:
    """Raise ValueError unless ``reply`` carries exactly ``segments``, in the right sizes, finite and in range."""
    expected, came = set(segments), set(reply.weights)
    if expected != came:
        raise ValueError(
            f"the update holds {', '.join(sorted(came)) or 'nothing'}, expected {', '.join(sorted(expected))}"
        )
    layout.check_sizes(reply.weights)
    for segment, values in reply.weights.items():
        if values.dtype != np.float32:
            raise ValueError(f"segment {segment}: expected float32, got {values.dtype}")
        if not all_below(values, LIMIT):
            bad = np.flatnonzero(~(np.abs(values) < LIMIT))
            first = int(bad[0])
            raise ValueError(
                f"the update holds {bad.size} values that are not finite or not below {LIMIT:.0f}, the first one "
                f"({values[first]}) in {layout.name_at(segment, first)}"
            )


def check_beside(reply: Reply, layout: SegmentLayout, sends: str | None) -> None:
    """Raise ValueError unless what came beside the update is what the algorithm ``sends``, of the update's segments, in
    their sizes, finite and in range. An update without any is the algorithm's to judge."""
    if reply.beside and not sends:
        raise ValueError("vectors came beside the update, of which federation.strategy knows nothing")
    if reply.beside:
        try:
            check_update(replace(reply, weights=reply.beside), layout, reply.weights)
        except ValueError as error:
            raise ValueError(f"beside the update: {error}") from error


def check_counts(reply: Reply, data: Mapping[str, Any]) -> None:
    """Raise ValueError unless ``reply`` counts as many pairs as it can have.

    ``data`` is the hospital's passport: it said how many pairs one pass over its images has, and an update weighs no
    more than that. An update of no pair carries no weights: its hospital has nothing to train on.
    """
    pairs = reply.num_pairs
    if type(pairs) is not int or pairs < 0:
        raise ValueError(f"the number of pairs must be a whole number from 0 on, got {pairs!r}")
    train = reply.results.get("train")
    told = train.get("pairs") if isinstance(train, Mapping) else None
    if told != pairs:
        raise ValueError(f"the update weighs {pairs} pairs, but its own training report says {told!r}")
    if pairs == 0 and reply.weights:
        raise ValueError("the update comes from 0 pairs: weights without training")
    described = (data.get("pairing") or {}).get("pairs", 0)
    if pairs > described:
        raise ValueError(f"the update weighs {pairs} pairs, but the hospital described only {described}")


def check_branch_counts(reply: Reply, data: Mapping[str, Any], labels: LabelsConfig) -> None:
    """Raise ValueError unless the update's counts are what ``branch_counts`` gives, and no larger than the hospital's
    passport ``data`` allows, in which counts are rounded. What the passport keeps back cannot be compared."""
    counts, names = reply.counts, ("xray", "ct", "fusion", "xray_token", "ct_token", "cancer")
    if set(counts) != {*names, "findings"}:
        raise ValueError(
            f"the update counts {', '.join(sorted(counts)) or 'nothing'}, expected {', '.join(names)}, findings"
        )
    findings = counts["findings"]
    if not isinstance(findings, list) or len(findings) != len(labels.findings):
        raise ValueError(f"the update counts the labels of {findings!r}, expected {len(labels.findings)} findings")
    train = ((data.get("splits") or {}).get("train")) or {}
    most: dict[str, Any] = dict.fromkeys(names, reply.num_pairs)
    most |= {"xray": train.get("xray"), "ct": train.get("ct"), "cancer": train.get("ct")}
    claimed = [(name, counts[name], most[name]) for name in names]
    claimed += [(name, count, train.get("xray")) for name, count in zip(labels.findings, findings, strict=True)]
    for name, count, described in claimed:
        if type(count) is not int or count < 0:
            raise ValueError(f"the count of {name} must be a whole number from 0 on, got {count!r}")
        if described is not None and count > max(described + _ROUNDED_BY, reply.num_pairs):
            raise ValueError(f"the update counts {count} for {name}, but the hospital described only {described}")
