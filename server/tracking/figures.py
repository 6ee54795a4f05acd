"""The main figures of a run by round and name, as curves have them."""

from collections.abc import Iterator, Mapping
from typing import Any

from fedthorax.common.record.history import history_rows

_TRAIN = "train_"
_IDENTITY = frozenset({"round", "phase", "trainable", "scope", "site"})
_OF_THE_ROUND = frozenset({"round_seconds", "bytes_sent", "bytes_received"})
_HEADLINE = (
    ("disease", "macro", "roc_auc"),
    ("disease", "macro", "pr_auc"),
    ("disease", "macro", "f1"),
    ("cancer", "accuracy"),
    ("cancer", "macro", "roc_auc"),
    ("cancer", "macro", "f1"),
)


def figures(metrics: Mapping[str, Any]) -> Iterator[tuple[int, str, float]]:
    """Round, name and value of what history.csv holds, and of the test once it is there.

    ``central/valid/NAME``, ``round/NAME``, ``sites/SITE/valid/NAME``, ``sites/SITE/train/NAME``, and for the selected
    model, at its round, ``central/test/NAME``. What is undefined is left out: a curve has no point there.
    """
    for entry in metrics["rounds"]:
        for row in history_rows(entry):
            where = "central" if row["scope"] == "central" else f"sites/{row['site']}"
            for column, value in row.items():
                if column not in _IDENTITY and value is not None:
                    yield int(row["round"]), _name(where, column), float(value)
    if test := metrics.get("test"):
        for path in _HEADLINE:
            found: Any = test
            for key in path:
                found = found.get(key) if isinstance(found, Mapping) else None
            if found is not None:
                name = "_".join(key for key in path if key != "macro")
                yield int(test["round"]), f"central/test/{name}", float(found)


def _name(where: str, column: str) -> str:
    if column in _OF_THE_ROUND:
        return f"round/{column.removeprefix('round_')}"
    if column.startswith(_TRAIN):
        return f"{where}/train/{column.removeprefix(_TRAIN)}"
    return f"{where}/valid/{column}"
