"""The main figures of a run as a flat table, for a spreadsheet."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

_SCORE_COLUMNS: dict[str, tuple[str, ...]] = {
    "loss": ("loss",),
    "disease_loss": ("disease_loss",),
    "cancer_loss": ("cancer_loss",),
    "disease_roc_auc": ("disease", "macro", "roc_auc"),
    "disease_f1": ("disease", "macro", "f1"),
    "disease_precision": ("disease", "macro", "precision"),
    "disease_recall": ("disease", "macro", "recall"),
    "disease_accuracy": ("disease", "macro", "accuracy"),
    "cancer_accuracy": ("cancer", "accuracy"),
    "cancer_roc_auc": ("cancer", "macro", "roc_auc"),
    "cancer_f1": ("cancer", "macro", "f1"),
    "cancer_precision": ("cancer", "macro", "precision"),
    "cancer_recall": ("cancer", "macro", "recall"),
}
_TRAIN_COLUMNS = ("loss", "disease_loss", "cancer_loss", "pairs", "steps", "epochs", "seconds")
HISTORY_COLUMNS = (
    "round",
    "phase",
    "trainable",
    "scope",
    "site",
    *_SCORE_COLUMNS,
    *(f"train_{name}" for name in _TRAIN_COLUMNS),
    "round_seconds",
    "bytes_sent",
    "bytes_received",
)


def history_csv(metrics: Mapping[str, Any]) -> str:
    """One row a round for the central validation and one for each site; an undefined figure is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for entry in metrics.get("rounds", []):
        writer.writerows(history_rows(entry))
    return text.getvalue()


def history_rows(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one of ``metrics["rounds"]``; what is undefined is None or left out."""
    phase = entry.get("phase") or {}
    common = {"round": entry["round"], "phase": phase.get("index"), "trainable": phase.get("trainable")}
    yield {
        **common,
        "scope": "central",
        **_score_cells(entry.get("central")),
        "round_seconds": entry.get("seconds"),
        "bytes_sent": entry.get("bytes_sent"),
        "bytes_received": entry.get("bytes_received"),
    }
    for name, site in entry.get("sites", {}).items():
        train = site.get("train") or {}
        yield {
            **common,
            "scope": "site",
            "site": name,
            **_score_cells(site.get("valid")),
            **{f"train_{column}": train.get(column) for column in _TRAIN_COLUMNS},
        }


def _score_cells(scores: Mapping[str, Any] | None) -> dict[str, Any]:
    cells = {}
    for column, path in _SCORE_COLUMNS.items():
        value: Any = scores
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        cells[column] = value
    return cells
