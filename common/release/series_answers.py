"""One answer for a CT series or volume, from those of its slices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.common.config.evaluation import ExaminationRule
from fedthorax.common.metrics.examinations import combined
from fedthorax.common.records.patients import headers
from fedthorax.common.records.records import ImageRef
from fedthorax.common.release.saved_model import SavedModel

_MOST = 3  # slices that are named for what they say


def series_of(slices: Sequence[Path | ImageRef], together: bool = False) -> list[str | None]:
    """The examination that each slice is of; None for a picture that nothing binds to others.

    A volume, or the folder of a DICOM series, with a number where it holds several; with ``together`` also the folder
    of pictures that do not say whose they are.
    """
    refs = [ImageRef(one) if isinstance(one, Path) else one for one in slices]
    found = headers([ref.path for ref in refs if ref.frame is None])
    numbers: dict[Path, list[str]] = {}
    names: list[str | None] = []
    for ref in refs:
        header, folder = found.get(ref.path), ref.path.parent
        if ref.frame is not None or header is None or not header.series:
            names.append(str(ref.path) if ref.frame is not None else str(folder) if together else None)
            continue
        known = numbers.setdefault(folder, [])
        if header.series not in known:
            known.append(header.series)
        place = known.index(header.series)
        names.append(str(folder) if not place else f"{folder} (series {place + 1})")
    return names


def series_answers(
    saved: SavedModel, answers: Sequence[Mapping[str, Any]], series: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """What the ``answers`` of ``predict_files`` say together, of every series (by the slice's name) with several.

    ``ct`` (its name), ``xray`` (None where there are several), ``slices``, ``rule``, the probabilities, ``predicted``,
    of each slice ``behind`` it the probability of the predicted class, and the slices that ``speak_most`` for it.
    Findings are means over the answers with the same X-ray, null without one.
    """
    rule: ExaminationRule = saved.facts.get("examination", "mean")
    by_series: dict[str, list[Mapping[str, Any]]] = {}
    for answer in answers:
        if answer["ct"] is not None and (name := series[answer["ct"]]) is not None:
            by_series.setdefault(name, []).append(answer)
    return [_of_one(saved, name, rows, rule) for name, rows in by_series.items() if len(rows) > 1]


def _of_one(saved: SavedModel, name: str, rows: Sequence[Mapping[str, Any]], rule: ExaminationRule) -> dict[str, Any]:
    points, classes = saved.points, saved.cancer_classes
    of_slices = np.array([[row["cancer"][label] for label in classes] for row in rows])
    cancer = dict(zip(classes, combined(of_slices, rule).tolist(), strict=True))
    predicted = max(cancer, key=lambda label: cancer[label])
    xrays = {row["xray"] for row in rows}
    xray = next(iter(xrays)) if len(xrays) == 1 else None
    findings = {
        label: float(np.mean([row["disease"][label] for row in rows])) if xray is not None else None
        for label in saved.findings
    }
    loudest = sorted(rows, key=lambda row: -row["cancer"][predicted])[:_MOST]
    return {
        "ct": name,
        "xray": xray,
        "slices": len(rows),
        "rule": rule,
        "disease": findings,
        "cancer": cancer,
        "predicted": {
            "findings": [
                label for label, p in findings.items() if p is not None and p >= points.disease[label].threshold
            ],
            "cancer_class": predicted,
            "cancer_above_threshold": [label for label, p in cancer.items() if p >= points.examination[label].threshold]
            if points.examination
            else None,
        },
        "thresholds": {label: of_one.threshold for label, of_one in points.examination.items()} or None,
        "speak_most": [row["ct"] for row in loudest],
        "behind": {row["ct"]: row["cancer"][predicted] for row in rows},
    }
