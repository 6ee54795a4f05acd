"""What a folder holds, in numbers."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.hospital.labelled import KINDS, LabelledImage
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.attributes import age_band
from fedthorax.common.records.records import SPLITS, ImageRef

UNDRAWN = "not given"
UNKNOWN = "unknown"


def counts(
    images: Sequence[LabelledImage],
    facts: Mapping[ImageRef, ImageFacts],
    label_names: Mapping[Modality, Sequence[str]],
) -> dict[str, Any]:
    """JSON-ready, by modality: ``splits``, ``labels``, ``co_occurrence``, ``attributes`` and ``files``.

    ``splits`` counts images and patients on each side, ``labels`` what is known on each side. ``co_occurrence`` counts
    X-rays that show both findings, by pair. ``files`` counts sizes, depths, modes and formats of the images read.
    """
    return {
        modality: _of_modality([image for image in images if image.modality == modality], facts, modality, label_names)
        for modality in KINDS
    }


def _of_modality(
    images: Sequence[LabelledImage],
    facts: Mapping[ImageRef, ImageFacts],
    modality: Modality,
    label_names: Mapping[Modality, Sequence[str]],
) -> dict[str, Any]:
    labels = label_names.get(modality, ())
    sides: dict[str, list[LabelledImage]] = {split: [] for split in (*SPLITS, UNDRAWN)}
    for image in images:
        sides[image.split or UNDRAWN].append(image)
    sides = {split: held for split, held in sides.items() if held}
    read = [facts[image.ref] for image in images if image.ref in facts]
    return {
        "images": len(images),
        "patients": len({image.patient for image in images}),
        "splits": {
            split: {"images": len(held), "patients": len({image.patient for image in held})}
            for split, held in sides.items()
        },
        "labels": {split: _labels(held, labels) for split, held in sides.items()},
        "co_occurrence": _co_occurrence(images, labels) if modality == "xray" else {},
        "attributes": {
            "sex": _tally(image.attributes.sex for image in images),
            "age": _tally(None if (age := image.attributes.age_years) is None else age_band(age) for image in images),
            "view": _tally(image.attributes.view for image in images),
            "scanner": _tally(image.attributes.scanner for image in images),
        },
        "files": {
            "read": len(read),
            "size": _tally(f"{fact.width} x {fact.height}" for fact in read),
            "bits": _tally(str(fact.bits) if fact.bits else None for fact in read),
            "mode": _tally(fact.mode for fact in read),
            "format": _tally(fact.format for fact in read),
        },
    }


def _labels(images: Sequence[LabelledImage], labels: Sequence[str]) -> dict[str, Any]:
    """By finding, present, absent and unknown; by class, slices, and those of unknown class."""
    if images[0].modality == "ct":
        by_class = Counter(image.labels[0] for image in images if not math.isnan(image.labels[0]))
        return {name: {"present": by_class[place]} for place, name in enumerate(labels)} | (
            {UNKNOWN: {"present": unknown}} if (unknown := len(images) - by_class.total()) else {}
        )
    found = {}
    for place, name in enumerate(labels):
        values = [image.labels[place] for image in images]
        present, absent = values.count(1.0), values.count(0.0)
        found[name] = {"present": present, "absent": absent, "unknown": len(values) - present - absent}
    return found


def _co_occurrence(images: Sequence[LabelledImage], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """``[a][b]``: X-rays that show a and b; ``[a][a]``: that show a."""
    together: Counter[tuple[int, int]] = Counter()
    for image in images:
        shown = [place for place, value in enumerate(image.labels) if value == 1.0]
        together.update((one, other) for one in shown for other in shown)
    return {
        name: {other: together[place, second] for second, other in enumerate(labels)}
        for place, name in enumerate(labels)
    }


def _tally(values: Iterable[str | None]) -> dict[str, int]:
    """The commonest first; what is not known last."""
    found = Counter(UNKNOWN if value is None else value for value in values)
    return dict(sorted(found.items(), key=lambda item: (item[0] == UNKNOWN, -item[1], item[0])))
