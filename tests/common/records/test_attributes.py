"""Sex, age, view and scanner."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.records.attributes import (
    AttributeColumns,
    age_band,
    age_between,
    age_of,
    completed,
    read_attributes,
    sex_of,
    view_of,
)
from fedthorax.common.records.records import Attributes
from fedthorax.common.records.table import read_table


@pytest.mark.parametrize(
    ("cell", "sex"), [("F", "F"), ("female", "F"), ("w", "F"), ("m", "M"), ("Male", "M"), ("O", None), ("", None)]
)
def test_sex_is_read_from_its_usual_words(cell: str, sex: str | None) -> None:
    assert sex_of(cell) == sex


@pytest.mark.parametrize(
    ("cell", "years"),
    [
        ("58", 58.0),
        ("0", 0.0),
        ("61,5", 61.5),
        ("61.5", 61.5),
        ("058Y", 58.0),
        ("018M", 1.5),
        ("120", 120.0),
        ("121", None),
        ("411", None),
        ("000Y", None),
        ("-3", None),
        ("nan", None),
        ("", None),
        ("1e1", None),
    ],
)
def test_age_is_read_in_years_and_a_wrong_one_is_unknown(cell: str, years: float | None) -> None:
    assert age_of(cell) == years


@pytest.mark.parametrize(
    ("birth", "study", "years"),
    [
        ("1935.0", "20140915", 79.0),
        ("1935", "2014-09-15", 79.0),
        ("01.04.1935", "15/09/2014", 79.0),
        ("2015", "20140915", None),
        ("1800", "20140915", None),
        ("", "20140915", None),
        ("35", "20140915", None),
    ],
)
def test_age_from_two_dates_counts_years(birth: str, study: str, years: float | None) -> None:
    assert age_between(birth, study) == years


@pytest.mark.parametrize(
    ("cell", "view"),
    [
        ("PA", "PA"),
        ("AP Supine", "AP"),
        ("AP_horizontal", "AP"),
        ("antero-posterior", "AP"),
        ("LATERAL", "LL"),
        ("L", "LL"),
        ("left lateral", "LL"),
        ("Left", None),
        ("Frontal", None),
        ("COSTAL", None),
        ("", None),
    ],
)
def test_views_have_one_name_in_all_hospitals(cell: str, view: str | None) -> None:
    assert view_of(cell) == view


def test_age_bands_begin_with_their_first_year() -> None:
    assert [age_band(years) for years in (0, 17.9, 18, 39, 40, 60, 79.9, 80, 120)] == [
        *("0-17", "0-17", "18-39", "18-39", "40-59", "60-79", "60-79", "80+", "80+")
    ]


def test_the_label_file_comes_before_the_header() -> None:
    header = Attributes("M", 40.0, "RLD", "Acme X1")
    assert completed(Attributes("F", 0.0), header) == Attributes("F", 0.0, "LL", "Acme X1")
    assert completed(Attributes(), Attributes(view="OBLIQUE")) == Attributes()


def test_the_first_column_that_tells_a_view_counts_and_scanner_columns_are_joined(
    table: Callable[..., Path],
) -> None:
    read = read_table(table("a,b,maker,model", ",Lateral,Acme,X1", "AP,Frontal,Acme,unknown", ",Frontal,,"))
    found, notes = read_attributes(read, AttributeColumns(view=("a", "b"), scanner=("maker", "model")))
    assert [(row.view, row.scanner) for row in found] == [("LL", "Acme X1"), ("AP", "Acme"), (None, None)]
    assert notes == ()
