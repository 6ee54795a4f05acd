"""Runs side by side: their settings that differ, and their selected models on the same test images."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.wording import UNDEFINED, bracketed, count, figure, interval
from fedthorax.common.metrics.answers import class_answers, finding_answers
from fedthorax.common.metrics.comparison import compare
from fedthorax.common.metrics.figures import words_of
from fedthorax.common.metrics.scores import TASKS, Compared, ComparedHeads, PairedMean
from fedthorax.common.page.frame import rendered
from fedthorax.common.record.history import HEADLINE
from fedthorax.common.record.run import Labels, Run
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.report.comparison_template import TEMPLATE

SAMPLES = 1000


@dataclass(frozen=True)
class StoredPredictions:
    """``test_predictions.csv``: by modality, files in order, their patients, truth and probability.

    ``truth`` and ``probability`` are (N, labels); truth is NaN where unknown.
    """

    files: dict[str, list[str]]
    patients: dict[str, list[str]]
    truth: dict[str, NDArray[np.float64]]
    probability: dict[str, NDArray[np.float64]]


def write_comparison(runs: Sequence[Path], target: Path) -> Path:
    """``target``, one HTML file: every further run compared with the first.

    FileNotFoundError where a run is not whole; ValueError where two runs predict other labels, or their test images are
    not the same files with the same labels of the same patients.
    """
    if len(runs) < 2:
        raise ValueError(f"--compare needs two runs or more, got {len(runs)}")
    folders = [RunFolder.load(run) for run in runs]
    read = [folder.read_run() for folder in folders]
    labels = read[0].labels
    for folder, run in zip(folders, read, strict=True):
        if run.labels != labels:
            raise ValueError(f"{folder.path} predicts other labels than {folders[0].path}: they cannot be compared")
    predictions = [read_predictions(folder.test_predictions, labels) for folder in folders]
    pairs = [
        compared(predictions[0], other, labels, str(folders[0].path), str(folder.path))
        for other, folder in zip(predictions[1:], folders[1:], strict=True)
    ]
    names = _distinct([folder.path for folder in folders])
    document = rendered(
        TEMPLATE,
        names=names,
        headlines=headline_rows(read),
        pairs=[
            {"first": names[0], "second": name, "tasks": task_tables(pair)}
            for name, pair in zip(names[1:], pairs, strict=True)
        ],
        settings=setting_rows([folder.read_config()[0].model_dump(mode="json") for folder in folders]),
    )
    write_text(target, document)
    return target


def read_predictions(file: Path, labels: Labels) -> StoredPredictions:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: the run did not end, so its model has no test to compare")
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, dict[str, Any]] = {"files": {}, "patients": {}, "truth": {}, "probability": {}}
    for modality, names in (("xray", labels.findings), ("ct", labels.cancer_classes)):
        mine = sorted((row for row in rows if row["modality"] == modality), key=lambda row: row["file"])
        found["files"][modality] = [row["file"] for row in mine]
        found["patients"][modality] = [row["patient_id"] for row in mine]
        for kind in ("truth", "probability"):
            cells = [[float(row[f"{kind}:{name}"] or "nan") for name in names] for row in mine]
            found[kind][modality] = np.array(cells, np.float64).reshape(len(mine), len(names))
    return StoredPredictions(**found)


def compared(
    first: StoredPredictions, second: StoredPredictions, labels: Labels, name: str, other: str
) -> ComparedHeads:
    """Second minus first."""
    for modality, files in first.files.items():
        if files != second.files[modality] or first.patients[modality] != second.patients[modality]:
            shared = len(set(files) & set(second.files[modality]))
            raise ValueError(
                f"{name} and {other} were tested on different {modality} images ({len(files)} and "
                f"{len(second.files[modality])}, {shared} in both): a paired comparison needs the same patients"
            )
        if not np.array_equal(first.truth[modality], second.truth[modality], equal_nan=True):
            raise ValueError(f"{name} and {other} have different labels for the same {modality} images")
    classes = first.truth["ct"]
    known = ~np.isnan(classes).any(axis=1)
    truth = np.full(len(classes), -1)
    truth[known] = classes[known].argmax(axis=1)
    models, patients = (second.probability, first.probability), first.patients
    xray = [finding_answers(first.truth["xray"], one["xray"], labels.findings, 0.5, patients["xray"]) for one in models]
    ct = [class_answers(truth, one["ct"], labels.cancer_classes, patients["ct"]) for one in models]
    disease, cancer = (compare(new, old, SAMPLES, 0) for new, old in (xray, ct))
    return ComparedHeads.model_validate({"disease": disease, "cancer": cancer}, strict=False)


def task_tables(pair: ComparedHeads) -> list[dict[str, Any]]:
    """The rows of both tasks as text; the means stand below the labels."""
    return [
        {"title": title, **_compared_rows(found)} for task, title in TASKS if (found := getattr(pair, task)) is not None
    ]


def _compared_rows(found: Compared) -> dict[str, Any]:
    rows = [
        {
            "name": row.name,
            "cells": [
                f"{count(row.support)} of {count(row.known)}",
                figure(row.second),
                figure(row.first),
                signed(row.difference),
                interval(row.interval),
                _p(row.p_value),
                _p(row.p_holm),
            ],
            "few": row.descriptive,
            "style": "best" if row.p_holm is not None and row.p_holm < 0.05 else "",
        }
        for row in found.rows
    ]
    means = [
        {
            "name": name,
            "cells": ["", *([figure(None)] * 4 if mean is None else _mean_cells(mean)), "", ""],
        }
        for name, mean in (("Mean over the labels that are not descriptive", found.mean), ("Accuracy", found.accuracy))
        if name != "Accuracy" or "accuracy" in found.model_fields_set
    ]
    return {"rows": rows, "means": means}


def _mean_cells(mean: PairedMean) -> list[str]:
    difference = mean.difference
    return [figure(mean.second), figure(mean.first), signed(difference.value), interval(difference.interval)]


def headline_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The main test figures of each run, each with its own interval."""
    words, rows = dict(TASKS), []
    for task, of in HEADLINE.values():
        name, cells = f"{words[task]}: {'' if of == 'accuracy' else 'mean '}{words_of(of)}", []
        for run in runs:
            low_high = run.test.interval(task, of) if run.test else None
            cells.append(figure(run.test.mean(task, of) if run.test else None) + bracketed(low_high))
        rows.append({"name": name, "cells": cells})
    rows.append({"name": "Status", "cells": [run.status for run in runs]})
    rows.append({"name": "Selected round", "cells": [count(run.best_round) for run in runs]})
    return rows


def setting_rows(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings that are not the same in all runs."""
    flat = [_flat(config) for config in configs]
    keys = list(dict.fromkeys(key for config in flat for key in config))
    rows = [{"name": key, "cells": [config.get(key, UNDEFINED) for config in flat]} for key in keys]
    return [row for row in rows if len(set(row["cells"])) > 1]


def signed(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:+.3f}"


def _p(value: float | None) -> str:
    return UNDEFINED if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _flat(value: Any, key: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {
            name: text
            for part, item in value.items()
            for name, text in _flat(item, f"{key}.{part}" if key else part).items()
        }
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return {name: text for index, item in enumerate(value) for name, text in _flat(item, f"{key}.{index}").items()}
    return {key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)}


def _distinct(paths: Sequence[Path]) -> list[str]:
    """Names of the folders, or their paths where two have the same name."""
    names = [path.absolute().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
