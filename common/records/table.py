"""A CSV file as it comes out of a hospital's spreadsheet."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fedthorax.common.ground.wording import number_of

TABLES = (".csv", ".tsv", ".csv.gz")
"""How a table's name may end."""
_SEPARATORS = ",;\t|"
_MARKS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MOST_ABOVE = 10_000
_LONGEST_HEADER = 1 << 16
_INVISIBLE = "\ufeff\u200b\u200e\u200f"
_AROUND = "".join(mark for mark in map(chr, range(0x3001)) if mark.isspace()) + _INVISIBLE


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
    """The table in ``path``, which may be gzip-compressed: separated by comma, semicolon, tab or bar, or as a first
    line ``sep=;`` says.

    UTF-8 or UTF-16, with or without a byte-order mark, unless another ``encoding`` is given. Empty lines, and remarks
    (``# ...``) above the header, are left out; a line break in a column name is a blank. Cells beyond the header may be
    there if they are empty. ``="00123"``, by which spreadsheets keep zeros, is 00123.

    Raises FileNotFoundError, PermissionError, or ValueError with the file and the line.
    """
    text = _text(path, encoding)
    text, separator, skipped = _from_header(text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begin = skipped + 1
    try:
        columns = tuple(" ".join(name.strip(_INVISIBLE).split()) for name in next(lines, []))
        _check_columns(path, columns)
        rows: list[Row] = []
        for cells in lines:
            number = begin = lines.line_num + skipped
            if not any(cell.strip() for cell in cells):
                continue
            while len(cells) > len(columns) and not cells[-1].strip():
                del cells[-1]
            if len(cells) < len(columns) and not any(columns[len(cells) :]):
                cells += [""] * (len(columns) - len(cells))
            if len(cells) != len(columns):
                raise ValueError(
                    f"{path}, line {number}: expected {len(columns)} cells as in the header, found {len(cells)}"
                    f"{_why_other_number(len(columns), len(cells), separator)}"
                )
            if not rows and "" in columns[1:] and not cells[0].strip() and cells[columns.index("", 1)].strip():
                raise ValueError(
                    f"{path}, line {number}: the column names stand in two lines, as merged cells are saved; write "
                    "each name in one cell of the first line"
                )
            rows.append(Row(number, {name: _cell(cell) for name, cell in zip(columns, cells, strict=True)}))
    except csv.Error as error:
        last = lines.line_num + skipped
        if last > begin + 1 or "unexpected end" in str(error):
            words = "a quotation mark opens a cell that nothing closes, or not where it should"
            raise ValueError(f"{path}, line {begin + 1}: {words} (read to line {last}: {error})") from None
        raise ValueError(f"{path}, line {last}: is not a CSV line ({error})") from None
    return Table(path, columns, tuple(rows))


def _from_header(text: str) -> tuple[str, str, int]:
    """The text from the header on, what separates its cells, and how many lines stand above."""
    stream = io.StringIO(text, newline="")
    lines, said, skipped = list(islice(stream, _MOST_ABOVE)), "", 0
    for skipped, line in enumerate(lines):
        if sep := re.fullmatch(r'\s*"?sep *= *(.)"?\s*', line, re.IGNORECASE):
            said = sep[1]
        elif line.strip(_SEPARATORS + ' "\r\n') and not _is_remark(line, lines[skipped + 1 : skipped + 2]):
            break
    text = "".join(lines[skipped:]) + stream.read()
    begin = re.sub(r'"(?:[^"]|"")*"', "", text[:_LONGEST_HEADER]).lstrip("\r\n")  # quotes part nothing
    header, first = [*re.split(r"[\r\n]+", begin, maxsplit=2), ""][:2]

    def parts(mark: str) -> tuple[bool, int]:  # names may hold a comma, but then not the row below
        return 0 < header.count(mark) == first.count(mark), header.count(mark)

    return text, said if said and said in header else max(_SEPARATORS, key=parts), skipped


def _is_remark(line: str, following: Sequence[str]) -> bool:
    """A header may begin with # as well, but then it has as many cells as what follows."""
    if not line.startswith("#"):
        return False
    return any(
        other.startswith("#") or any(line.count(m) != other.count(m) for m in _SEPARATORS) for other in following
    )


def _why_other_number(expected: int, found: int, separator: str) -> str:
    if expected == 1:
        return "; the column names have to stand in the first line: take out what stands above them"
    if found > expected:
        return f"; a cell that holds a {_MARKS.get(separator, separator)} has to stand in quotes"
    return "; a line that is no row, such as a remark or a total, has to be taken out" if found == 1 else ""


def _cell(cell: str) -> str:
    word = cell.strip(_AROUND)
    return word[2:-1].strip(_AROUND) if word.startswith('="') and word.endswith('"') else word


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
        have = "has" if lonely == 1 else "have"
        notes.append(f"{lonely} of {len(table.rows)} rows of {table.path.name} {have} no row in {further.path.name}")
    if repeats[1] is not None and (unused := sum(len(same) for key, same in right.items() if key not in left)):
        have, are = ("has", "is") if unused == 1 else ("have", "are")
        notes.append(
            f"{unused} of {len(further.rows)} rows of {further.path.name} {have} no row in {table.path.name} "
            f"and {are} not used"
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
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif any(_letters(content)):
        encoding = "utf-16-le" if _letters(content)[0] else "utf-16-be"
    if encoding is None or not encoding.startswith(("utf-16", "utf-32")):
        _refuse_zeros(path, content)
    try:
        text = content.decode("utf-8-sig" if encoding in (None, "utf-8") else encoding)
        return text.lstrip("\ufeff").removesuffix("\x1a")  # the end of a file as DOS marks it
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {_not_decodable(content, error)}") from None


def _letters(content: bytes) -> tuple[bool, bool]:
    """Whether the text begins like UTF-16 of Latin letters, low or high byte first: every other byte is zero."""
    even, odd = content[0:400:2], content[1:400:2]
    few, most = len(odd) // 8, len(odd) // 2
    return (
        bool(odd) and odd.count(0) > most and even.count(0) <= few,
        bool(odd) and even.count(0) > most and odd.count(0) <= few,
    )


def _refuse_zeros(path: Path, content: bytes) -> None:
    if b"\0" in content:
        first = content.index(b"\0")
        where = "ends in" if not content[first:].strip(b"\0\r\n") else "holds"
        number = number_of(content.count(0), "zero byte")
        raise ValueError(
            f"{path}: {where} {number}, the first in line {content.count(10, 0, first) + 1}: what "
            "stood there is lost, as when a disk was full or a machine lost power; save or copy the file again"
        )


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
        "CSV UTF-8, or, if that word is right and this is the label file, set mapping.encoding to windows-1252"
    )


def _by_key(table: Table, columns: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        found.setdefault(_key(row, columns), []).append(row)
    return found


def _key(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.cells[name] for name in columns)


_SHOWN = 5


def refuse_repeats(path: Path, rows: Iterable[tuple[str, int, object]]) -> None:
    """Raise ValueError where several of ``rows`` (what they name, line, what they say of it) name the same: how many,
    which, and whether they say the same."""
    said: dict[str, list[tuple[int, object]]] = {}
    for name, line, what in rows:
        said.setdefault(name, []).append((line, what))
    repeated = {name: same for name, same in said.items() if len(same) > 1}
    if not repeated:
        return
    # repr: an unknown finding is NaN, which is not equal to itself.
    torn = {name for name, same in repeated.items() if len({repr(what) for _, what in same}) > 1}
    told = [
        f"{name} in lines {listed([str(line) for line, _ in same])} ({'in conflict' if name in torn else 'alike'})"
        for name, same in sorted(repeated.items(), key=lambda item: item[0] not in torn)
    ]
    number = sum(len(same) - 1 for same in repeated.values())
    raise ValueError(
        f"{path}: {number_of(number, 'row repeats', 'rows repeat')} an image of an earlier row, "
        f"{len(torn)} of the {number_of(len(repeated), 'repeated image')} in conflict: {'; '.join(told[:_SHOWN])}"
        f"{f'; and {len(told) - _SHOWN} more' if len(told) > _SHOWN else ''}. Each image may have one row: of rows "
        "that are alike keep one, and ask whoever labelled the images which is right where they are in conflict"
    )
