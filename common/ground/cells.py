"""Text in a CSV file that people open in a spreadsheet."""

import re
from collections.abc import Iterable
from typing import Any

# At the beginning, and behind what a spreadsheet of another country takes for the end of a cell. The wide ones count in
# some of them, too.
_BEGINS_A_FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*[=+\-@\uff0b\uff0d\uff1d\uff20])|^(?=[\t\r\n])")


def plain_cells(cells: Iterable[Any]) -> list[Any]:
    """The cells, and before each text that a spreadsheet would compute an apostrophe, which makes it text there.

    Numbers stay numbers. A file that FedThorax itself reads back, such as labels.csv, is not written so: its cells are
    names of files as they are.
    """
    return [_BEGINS_A_FORMULA.sub(r"\1'", cell) if isinstance(cell, str) else cell for cell in cells]
