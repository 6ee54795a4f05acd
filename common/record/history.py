"""The main figures of a run as a flat table, for a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from fedthorax.common.ground.cells import plain_cells
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, Place, shown_in
from fedthorax.common.metrics.scores import Scores, Task
from fedthorax.common.record.run import Round, Run

_LOSSES = ("loss", "disease_loss", "cancer_loss")


def columns_of(place: Place) -> dict[str, tuple[Task, str]]:
    """Task and figure of each column: the mean over the labels, and the accuracy of CT slices."""
    heads: tuple[tuple[Task, Any], ...] = (("disease", FINDING_METRICS), ("cancer", CLASS_METRICS))
    columns = {f"{task}_{name}": (task, name) for task, metrics in heads for name in shown_in(place, metrics)}
    return {**columns, "cancer_accuracy": ("cancer", "accuracy")}


SCORE_COLUMNS, HEADLINE = columns_of("history"), columns_of("headline")
_TRAIN_COLUMNS = (*_LOSSES, "pairs", "steps", "epochs", "seconds")
HISTORY_COLUMNS = (
    "round",
    "phase",
    "trainable",
    "scope",
    "site",
    *_LOSSES,
    *SCORE_COLUMNS,
    *(f"train_{name}" for name in _TRAIN_COLUMNS),
    "round_seconds",
    "bytes_sent",
    "bytes_received",
)


def history_csv(run: Run) -> str:
    """One row a round for the central validation and one for each site; an undefined figure is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for entry in run.rounds:
        writer.writerows(dict(zip(row, plain_cells(row.values()), strict=True)) for row in history_rows(entry))
    return text.getvalue()


def history_rows(entry: Round) -> Iterator[dict[str, Any]]:
    """The rows of a round; what is undefined is None or left out."""
    phase = {"phase": entry.phase.index, "trainable": entry.phase.trainable} if entry.phase else {}
    common = {"round": entry.round, **phase}
    yield {
        **common,
        "scope": "central",
        **_score_cells(entry.central),
        "round_seconds": entry.seconds,
        "bytes_sent": entry.bytes_sent,
        "bytes_received": entry.bytes_received,
    }
    for name, site in entry.sites.items():
        train = {f"train_{column}": getattr(site.train, column) for column in _TRAIN_COLUMNS} if site.train else {}
        yield {**common, "scope": "site", "site": name, **_score_cells(site.valid), **train}


def _score_cells(scores: Scores | None) -> dict[str, Any]:
    if scores is None:
        return {}
    losses = {name: getattr(scores, name) for name in _LOSSES}
    return losses | {column: scores.mean(*of) for column, of in SCORE_COLUMNS.items()}
