"""The main figures of a run by round and name, as curves have them."""

from collections.abc import Iterator, Mapping
from typing import Any

from fedthorax.common.ground.wording import at
from fedthorax.common.record.history import HEADLINE, history_rows

_TRAIN = "train_"
_IDENTITY = frozenset({"round", "phase", "trainable", "scope", "site"})
_OF_THE_ROUND = frozenset({"round_seconds", "bytes_sent", "bytes_received"})


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
        for name, path in HEADLINE.items():
            if (found := at(test, *path)) is not None:
                yield int(test["round"]), f"central/test/{name}", float(found)


def _name(where: str, column: str) -> str:
    if column in _OF_THE_ROUND:
        return f"round/{column.removeprefix('round_')}"
    if column.startswith(_TRAIN):
        return f"{where}/train/{column.removeprefix(_TRAIN)}"
    return f"{where}/valid/{column}"
