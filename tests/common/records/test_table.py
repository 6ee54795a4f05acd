"""Reading a hospital's spreadsheet export."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedthorax.common.records.table import join_tables, listed, read_table

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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sep=;\nfile;Mass\na.png;1\n", 3),
        ('\ufeff"sep=;"\r\nfile;Mass\r\na.png;1\r\n', 3),
        ("SEP=\t\nfile\tMass\na.png\t1\n", 3),
        ("sep=;\n\n;;\nfile;Mass\na.png;1\n", 5),
        ("\nfile,Mass\na.png,1\n", 3),
        (" \r\n,\r\nfile,Mass\r\na.png,1\r\n", 4),
        ('"file","Mass"\na.png,1\n', 2),
        ("file|Mass\na.png|1\n", 2),
        ("file;Mass;\na.png;1;\n", 2),
        ("file,Mass\na.png,1,,\n", 2),
        ("file\u200b,\ufeffMass\na.png,1\n", 2),
        ("file,Mass\ra.png,1\r", 2),
        ("file,Mass\r\r\na.png,1\r\r\n", 3),
        ("SEP = ;\nfile;Mass\na.png;1\n", 3),
        ("sep=,\nfile;Mass\na.png;1\n", 3),
        ('"";""\nfile;Mass\na.png;1\n', 3),
        ("# exported\n# by a; b\nfile,Mass\na.png,1\n", 4),
        ("file,Mass,,\na.png,1\n", 2),
        ("file,Mass\na.png,1\n\x1a", 2),
        ("file,Mass\n a.png\u200b,\u00a01\n", 2),
        ('file,Mass\n"=""a.png""","=""1"""\n', 2),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32"])
def test_tables_are_read_as_people_save_them(tmp_path: Path, text: str, line: int, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    table = read_table(path)
    assert [name for name in table.columns if name] == ["file", "Mass"]
    assert [(row.line, row.cells["file"], row.cells["Mass"]) for row in table.rows] == [(line, "a.png", "1")]


def test_a_comma_in_a_name_parts_nothing_where_the_rows_have_tabs(table: Write) -> None:
    read = read_table(table("file\tMass, left\tEffusion, left, right", "a.png\t1\t0"))
    assert read.columns == ("file", "Mass, left", "Effusion, left, right")


def test_a_header_may_begin_with_a_hash(table: Write) -> None:
    assert read_table(table("#,file", "1,a.png")).columns == ("#", "file")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["Findings of May", "file,Mass", "a.png,1"], "line 2: expected 1 cells .*take out what stands above them"),
        (["file,Mass", "a.png,1", "# b is bad", "b.png,0"], "line 3: expected 2 cells .*such as a remark or a total"),
        (["file,Mass", "a.png,1", "Total: 1"], "line 3: expected 2 cells .*such as a remark or a total"),
        (
            ["file,findings,", ",Mass,Edema", "a.png,1,0"],
            "line 2: the column names stand in two lines, as merged cells",
        ),
        (["file,Mass", "a.png,1", '"b.png,0', "c.png,1"], "line 3: a quotation mark opens a cell that nothing closes"),
        (
            ["file,Mass", '"b.png,0', '"c.png,1"'],
            "line 2: a quotation mark opens .* not where it should .read to line 3",
        ),
        (["file,Mass", '"b.png,0', *["c.png,1"] * 20000], "line 2: a quotation mark opens a cell that nothing closes"),
    ],
)
def test_the_cause_of_an_odd_line_is_said(table: Write, lines: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_table(table(*lines))


def test_separators_inside_quotes_of_the_header_part_nothing(table: Write) -> None:
    read = read_table(table('file,"a;b;c;d",Mass', "a.png,x;y,1"))
    assert read.columns == ("file", "a;b;c;d", "Mass")
    assert read_table(table('"Size [mm, mm, mm]";"file, path";Mass', "1;a.png;1")).columns[2] == "Mass"


def test_a_line_break_in_a_column_name_is_a_blank(table: Write) -> None:
    assert read_table(table('file,"Pleural', ' Effusion"', "a.png,1")).columns == ("file", "Pleural Effusion")


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
        (
            b"file,a\nx.png,1\nM\xfcller \xdcbung.png,1\n",
            "line 3 is not UTF-8 text; in Windows-1252 it would hold 'Müller'. Save the file from",
        ),
        (b"\xff\xfea\x00b", "line 1 cannot be read as utf-16"),
        (b"PK\x03\x04rest", "is a spreadsheet, expected CSV text; save it from the spreadsheet as CSV UTF-8"),
        (b"\x1f\x8b\x08\x00broken", "is a damaged or truncated gzip file"),
        (b'file,a\n"x"y,1\n', "line 2: is not a CSV line"),
        (b'\n\nfile,a\n"x"y,1\n', "line 4: is not a CSV line"),
        (b"file,a\nx.png,1,5\n", "found 3; a cell that holds a comma has to stand in quotes"),
        (b"file,a\nx.png,1\n" + bytes(40), "ends in 40 zero bytes, the first in line 3: what stood there is lost"),
        (b"file,a\nx.png,1\n\0\0\0y.png,1\n", "holds 3 zero bytes, the first in line 3"),
        (bytes(512), "ends in 512 zero bytes, the first in line 1"),
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


def test_windows_1252_is_read_where_it_is_named_and_utf_16_by_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("file;note\r\na.png;Müller\r\n".encode("windows-1252"))
    assert read_table(path, "windows-1252").rows[0].cells["note"] == "Müller"
    path.write_bytes("file\tnote\r\na.png\tMüller\r\n".encode("utf-16"))
    assert read_table(path).rows[0].cells["note"] == "Müller"


def test_a_compressed_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"file,a\nx.png,1\n"))
    assert dict(read_table(path).rows[0].cells) == {"file": "x.png", "a": "1"}


def test_a_folder_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder, expected a CSV file"):
        read_table(tmp_path)


def test_one_row_a_study_meets_one_row_an_image(table: Write) -> None:
    studies = read_table(table("study,Mass", "1,1", "2,0", "3,0", name="studies.csv"))
    images = read_table(table("file,study,Mass", "a,1,x", "b,1,x", "c,2,x", "d,9,x", name="images.csv"))
    joined, notes = join_tables(studies, images, ["study", "patient"])
    assert joined.columns == ("study", "Mass", "file")
    assert [(row.line, row.cells["file"], row.cells["Mass"]) for row in joined.rows] == [
        (2, "a", "1"),
        (2, "b", "1"),
        (3, "c", "0"),
    ]
    assert notes == (
        "1 of 3 rows of studies.csv has no row in images.csv",
        "1 of 4 rows of images.csv has no row in studies.csv and is not used",
    )


def test_a_row_without_partner_keeps_empty_cells(table: Write) -> None:
    images = read_table(table("file,study", "a,1", "b,1", "c,2", name="images.csv"))
    studies = read_table(table("study,age", "1,50", name="studies.csv"))
    joined, notes = join_tables(images, studies, ["study"])
    assert [(row.cells["file"], row.cells["age"]) for row in joined.rows] == [("a", "50"), ("b", "50"), ("c", "")]
    assert notes == ("1 of 3 rows of images.csv has no row in studies.csv",)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (["case,age", "1,2"], "b.csv: shares with a.csv none of the columns study on which they are joined"),
        (["study,age", "1,2", "1,3"], "a.csv, line 3, and .*b.csv, line 3: both repeat the same study"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(table: Write, other: list[str], message: str) -> None:
    one = read_table(table("study,Mass", "1,1", "1,0", name="a.csv"))
    with pytest.raises(ValueError, match=message):
        join_tables(one, read_table(table(*other, name="b.csv")), ["study"])


@given(st.one_of(st.binary(max_size=200), st.text(',;\t"\n ab', max_size=60).map(str.encode)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_holds_it_is_a_table_or_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    message = ""
    try:
        read = read_table(path)
    except ValueError as error:
        message = str(error)
    else:
        assert all(set(row.cells) == set(read.columns) for row in read.rows)
    assert message == "" or message.startswith(str(path))
    assert "\n" not in message
