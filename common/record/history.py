"""The main figures of a run as a flat table, for a spreadsheet."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from fedthorax.common.ground.wording import at
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, shown_in

_LOSSES = ("loss", "disease_loss", "cancer_loss")
_HEADS = (("disease", FINDING_METRICS), ("cancer", CLASS_METRICS))
# A figure's column is the macro mean of a head; the accuracy of CT classes is that of the slices.
SCORE_COLUMNS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in _LOSSES},
    **{f"{head}_{name}": (head, "macro", name) for head, metrics in _HEADS for name in shown_in("history", metrics)},
    "cancer_accuracy": ("cancer", "accuracy"),
}
HEADLINE: dict[str, tuple[str, ...]] = {
    **{f"{head}_{name}": (head, "macro", name) for head, metrics in _HEADS for name in shown_in("headline", metrics)},
    "cancer_accuracy": ("cancer", "accuracy"),
}
_TRAIN_COLUMNS = (*_LOSSES, "pairs", "steps", "epochs", "seconds")
HISTORY_COLUMNS = (
    "round",
    "phase",
    "trainable",
    "scope",
    "site",
    *SCORE_COLUMNS,
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
    return {column: at(scores, *path) for column, path in SCORE_COLUMNS.items()}
