"""Reading a hospital's spreadsheet export."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.data.table import listed, read_table

Write = Callable[..., Path]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_comma_semicolon_and_tab_are_read_with_and_without_a_byte_order_mark(
    tmp_path: Path, separator: str, mark: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{mark}file{separator} Mass \n\na.png{separator} 1\n", encoding="utf-8")
    table = read_table(path)
    assert table.columns == ("file", "Mass")
    assert [(row.line, dict(row.cells)) for row in table.rows] == [(3, {"file": "a.png", "Mass": "1"})]


def test_a_cell_in_quotes_may_hold_the_separator(table: Write) -> None:
    assert read_table(table("file,note", '"a,b.png",x')).rows[0].cells["file"] == "a,b.png"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected a header line"),
        (b"\n\n", "is empty, expected a header line"),
        (b"file,a,file\n", "the header repeats the column file"),
        (b"file,a\nx.png\n", "line 2: expected 2 cells as in the header, found 1"),
        (b"file,a\nx.png,1,2\n", "line 2: expected 2 cells as in the header, found 3"),
        (b"file,a\n\xfcbung.png,1\n", "is not UTF-8 text"),
        (b'file,a\n"x"y,1\n', "line 2: is not a CSV line"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.csv: this file does not exist"):
        read_table(tmp_path / "none.csv")


def test_long_lists_name_five_and_count_the_rest() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
