"""A CSV file as it comes out of a hospital's spreadsheet."""

import codecs
import csv
import gzip
import io
import re
import zlib
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


def read_table(path: Path, encoding: str | None = None) -> Table:
    """The table in ``path``, which may be gzip-compressed: separated by comma, semicolon or tab.

    UTF-8 with or without a byte-order mark, or UTF-16 with one, unless another ``encoding`` is given. Empty lines are
    left out; a line break in a column name is a blank.

    Raises FileNotFoundError, PermissionError, or ValueError with the file and the line.
    """
    stream = io.StringIO(_text(path, encoding), newline="")
    header = stream.readline()
    stream.seek(0)
    lines = csv.reader(stream, delimiter=max(",;\t", key=header.count), strict=True)
    try:
        columns = tuple(" ".join(name.split()) for name in next(lines, []))
        _check_columns(path, columns)
        rows = []
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise ValueError(
                    f"{path}, line {lines.line_num}: expected {len(columns)} cells as in the header, found {len(cells)}"
                )
            stripped = (cell.strip() for cell in cells)
            rows.append(Row(lines.line_num, dict(zip(columns, stripped, strict=True))))
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.line_num}: is not a CSV line ({error})") from None
    return Table(path, columns, tuple(rows))


def join_tables(table: Table, further: Table, columns: Sequence[str]) -> tuple[Table, tuple[str, ...]]:
    """``table`` with the columns of ``further`` that it does not have, and notes on what did not fit together.

    Rows belong together where those of ``columns`` that both tables have hold the same cells. One of the two may
    repeat them: a label file with one row a study meets a table with one row an image. Rows keep the line of ``table``.
    """
    shared = [name for name in columns if name in table.columns and name in further.columns]
    if not shared:
        raise ValueError(
            f"{further.path}: shares with {table.path.name} none of the columns {', '.join(columns)} on which they are "
            f"joined; its columns are {', '.join(further.columns)}"
        )
    added = [name for name in further.columns if name and name not in table.columns]
    left, right = _by_key(table, shared), _by_key(further, shared)
    repeats = [next((same[1] for same in part.values() if len(same) > 1), None) for part in (left, right)]
    if repeats[0] and repeats[1]:
        raise ValueError(
            f"{table.path}, line {repeats[0].line}, and {further.path}, line {repeats[1].line}: both repeat the same "
            f"{', '.join(shared)}; one of the two files may"
        )
    rows = []
    if repeats[1] is None:
        for row in table.rows:
            found = right.get(_key(row, shared))
            rows.append(Row(row.line, {**row.cells, **{n: found[0].cells[n] if found else "" for n in added}}))
    else:
        for row in further.rows:
            if (found := left.get(_key(row, shared))) is not None:
                rows.append(Row(found[0].line, {**row.cells, **found[0].cells}))
    lonely = sum(len(same) for key, same in left.items() if key not in right)
    notes = []
    if lonely:
        notes.append(f"{lonely} of {len(table.rows)} rows of {table.path.name} have no row in {further.path.name}")
    if repeats[1] is not None and (unused := sum(len(same) for key, same in right.items() if key not in left)):
        notes.append(
            f"{unused} of {len(further.rows)} rows of {further.path.name} have no row in {table.path.name} "
            "and are not used"
        )
    return Table(table.path, (*table.columns, *added), tuple(rows)), tuple(notes)


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


def _text(path: Path, encoding: str | None) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: this file does not exist") from None
    except PermissionError:
        raise PermissionError(f"{path}: this file may not be read by this user (permission denied)") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder, expected a CSV file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ValueError(f"{path}: is a damaged or truncated gzip file") from None
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ValueError(f"{path}: is a spreadsheet, expected CSV text; save it from the spreadsheet as CSV UTF-8")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return content.decode("utf-8-sig" if encoding in (None, "utf-8") else encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {_not_decodable(content, error)}") from None


def _not_decodable(content: bytes, error: UnicodeDecodeError) -> str:
    """Where the text breaks, and how the place would read in the encoding that Western European spreadsheets use."""
    line = content.count(b"\n", 0, error.start) + 1
    if not error.encoding.startswith("utf-8"):
        return f"line {line} cannot be read as {error.encoding} text; save the file from the spreadsheet as CSV UTF-8"
    around = re.search(rb"[^\s,;\"]*$", content[: error.start])
    start = around.start() if around else error.start
    end = re.search(rb"[\s,;\"]|$", content[error.start :])
    word = content[start : error.start + (end.start() if end else 1)].decode("windows-1252", "replace")[:40]
    return (
        f"line {line} is not UTF-8 text; in Windows-1252 it would hold {word!r}. Save the file from the spreadsheet as "
        "CSV UTF-8, or, if that word is right and this is the label file, set xray.mapping.encoding to windows-1252"
    )


def _by_key(table: Table, columns: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        found.setdefault(_key(row, columns), []).append(row)
    return found


def _key(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.cells[name] for name in columns)
