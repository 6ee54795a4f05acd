"""A CSV file as it comes out of a hospital's spreadsheet."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of a table, cells by column name, without surrounding blanks; ``line`` counts from 1 as editors do."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path) -> Table:
    """The table in ``path``: UTF-8 with or without a byte-order mark, separated by comma, semicolon or tab.

    Empty lines are left out. Raises FileNotFoundError, or ValueError with the file and the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            lines = csv.reader(stream, delimiter=max(",;\t", key=header.count), strict=True)
            columns = tuple(name.strip() for name in next(lines, []))
            _check_columns(path, columns)
            rows = []
            for cells in lines:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(columns):
                    raise ValueError(
                        f"{path}, line {lines.line_num}: expected {len(columns)} cells as in the header, "
                        f"found {len(cells)}"
                    )
                stripped = (cell.strip() for cell in cells)
                rows.append(Row(lines.line_num, dict(zip(columns, stripped, strict=True))))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: this file does not exist") from None
    except PermissionError:
        raise PermissionError(f"{path}: this file may not be read by this user (permission denied)") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is not UTF-8 text ({error.reason}); save it from the spreadsheet as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.line_num}: is not a CSV line ({error})") from None
    return Table(path, columns, tuple(rows))


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few names and how many more there are, for a message."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not any(columns):
        raise ValueError(f"{path}: is empty, expected a header line with the column names")
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: the header repeats the column {', '.join(repeated)}; each may stand once")
