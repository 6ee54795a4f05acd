"""Text in a CSV file that people open in a spreadsheet."""

from collections.abc import Iterable
from typing import Any

_BEGIN_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain_cells(cells: Iterable[Any]) -> list[Any]:
    """The cells, and before each text that a spreadsheet would compute an apostrophe, which makes it text there.

    Numbers stay numbers. A file that FedThorax itself reads back, such as labels.csv, is not written so: its cells are
    names of files as they are.
    """
    return [f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGIN_A_FORMULA) else cell for cell in cells]
