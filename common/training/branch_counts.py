"""The parts of a network that are averaged each by itself, and how much of a hospital's data stands behind each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.config import Experiment
from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.masking.opening import Opening, domains_of
from fedthorax.common.masking.words import Domain
from fedthorax.common.model.segments import TOKEN, SegmentLayout
from fedthorax.common.training.fit import FitReport, taught


def branch_counts(train: SplitImages, fitted: FitReport, by_patient: bool = False) -> dict[str, Any]:
    """``xray`` and ``ct``: images that are trained on; ``fusion``: pairs; ``xray_token`` and ``ct_token``: pairs with
    the token for an image; ``findings``: known labels of each finding; ``cancer``: slices of known class. Empty
    without training.

    ``by_patient``: an epoch takes one image of each patient, so patients are counted in place of images and labels.
    """
    if not fitted.pairs:
        return {}

    def count(images: ImageSet, known: NDArray[np.bool_]) -> int:
        return len({images.patients[row] for row in np.flatnonzero(known)}) if by_patient else int(known.sum())

    known_findings = ~np.isnan(train.xray.targets)
    return {
        "xray": count(train.xray, taught(train, "xray")),
        "ct": count(train.ct, taught(train, "ct")),
        "fusion": fitted.pairs,
        "xray_token": fitted.without_xray,
        "ct_token": fitted.without_ct,
        "findings": [count(train.xray, column) for column in known_findings.T],
        "cancer": count(train.ct, train.ct.targets >= 0),
    }


def parts_of(layout: SegmentLayout, segments: Sequence[str], num_findings: int) -> tuple[Part, ...]:
    """The parts of a network in their order; together they cover every value of ``segments`` once."""
    parts: list[Part] = []
    for segment in segments:
        size, branch = layout.sizes[segment], segment.partition(".")[0]
        if branch == "disease":  # kernel (inputs, findings), then bias (findings): a finding is every n-th value
            parts += [Part(segment, slice(i, size, num_findings), "findings", i) for i in range(num_findings)]
        elif branch == "fusion":
            tokens = [slot for slot in layout.slots[segment] if TOKEN in slot.name]
            parts.append(Part(segment, slice(0, tokens[0].start if tokens else size), "fusion"))
            parts += [Part(segment, slice(t.start, t.stop), f"{t.name.split('_')[1]}_token") for t in tokens]
        else:
            parts.append(Part(segment, slice(0, size), branch))
    return tuple(parts)


def domains_for(
    opening: Opening, experiment: Experiment, layout: SegmentLayout, segments: Sequence[str]
) -> tuple[Domain, ...]:
    """What of ``segments`` is masked together in a round, worked out alike at the server and at a hospital, whose
    network may lack an encoder that it does not contribute to."""
    findings, federation = experiment.labels.findings, experiment.federation
    return domains_of(
        opening,
        parts_of(layout, segments, len(findings)),
        layout.sizes,
        {segment: layout.statistics(segment) for segment in segments},
        findings,
        experiment.weighs_branches,
        federation.smallest_sum,
    )
