import copy
import re

import pytest

from fedthorax.common.page.heat_map import heat_map
from fedthorax.common.record.run import read_run
from fedthorax.common.report.document import render
from fedthorax.common.report.grey_levels import grey_level_chart
from fedthorax.common.report.statistics import statistics_page, statistics_section
from fedthorax.common.report.statistics_tables import policy_words, statistics_tables


def cells(document, title):
    (table,) = (table for table in statistics_tables(document) if table.title.startswith(title))
    return {row[0]: row[1:] for row in table.rows}, table.notes


def test_a_finding_shows_its_positives_of_its_known_labels(statistics_document):
    rows, notes = cells(statistics_document, "Findings: ")
    assert rows["Effusion"] == ("20 of 100", "hidden of 80+", "20+ of 180")
    assert rows["Mass"] == ("50 of 100", "50 of 100", "100 of 200")
    assert notes == ("hidden: too few",)


def test_unknown_is_neither_zero_nor_hidden(statistics_document):
    site = statistics_document["sites"]["st.mary"]["findings"]["Mass"]
    site["cells"] = {"present": 0, "absent": 0, "unknown": 100}
    rows, notes = cells(statistics_document, "Findings: ")
    assert rows["Mass"][1] == "unknown"
    assert any("labelled at one hospital only" in note and "Mass (north)" in note for note in notes)


def test_a_finding_that_nobody_has_is_said(statistics_document):
    for site in statistics_document["sites"].values():
        site["findings"]["Mass"]["cells"]["present"] = 0
    assert "no hospital has an X-ray that shows Mass" in cells(statistics_document, "Findings: ")[1]


def test_an_attribute_that_is_unknown_everywhere_has_no_table(statistics_document):
    titles = [table.title for table in statistics_tables(statistics_document)]
    assert not any(title.startswith("X-rays by") for title in titles)


def test_an_undefined_distance_is_a_dash_with_its_reason(statistics_document):
    rows, notes = cells(statistics_document, "Jensen-Shannon")
    assert rows["north - st.mary"] == ("0.000", "-", "0.000", "-")
    assert rows["two halves of north"] == ("0.010", "-", "-", "-")
    assert "CT grey of north and st.mary undefined: a hospital has too few patients, or no images" in notes


def test_hospitals_that_were_not_compared_are_said_to_be(statistics_document):
    (pair,) = statistics_document["duplicates"]["pairs"]
    pair |= {"xray": None, "reason": "the two hospitals have different duplicate keys"}
    rows, notes = cells(statistics_document, "Images that two hospitals")
    assert rows == {"north - st.mary": ("-",) * 4}
    assert notes == ("north - st.mary: not compared, the two hospitals have different duplicate keys",)


def test_a_hospital_without_an_answer_is_named_with_its_reason(statistics_document):
    statistics_document["failures"] = [{"site": "east", "reason": "no such folder"}]
    assert cells(statistics_document, "Images and patients")[1] == ("no answer that counts from east: no such folder",)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ((5, 5), "counts of fewer than 5 patients are hidden; shown counts are rounded to multiples of 5"),
        ((3, 1), "counts of fewer than 3 patients are hidden; shown counts are exact"),
        ((1, 1), "no count is hidden; counts are exact"),
    ],
)
def test_the_policy_in_words(policy, words):
    assert policy_words({"policy": dict(zip(("smallest_count", "round_to"), policy, strict=True))}) == words


def test_the_report_of_a_run_has_the_section_where_the_run_has_statistics(metrics, statistics_document):
    assert 'id="statistics"' not in render(read_run(metrics), None)
    page = render(read_run({**metrics, "statistics": statistics_document}), None)
    assert page.count('id="statistics"') == 1


def test_the_page_stands_alone_and_escapes_names(statistics_document):
    statistics_document["sites"] = {
        name.replace("north", "<b>north</b>"): site for name, site in statistics_document["sites"].items()
    }
    for measured in statistics_document["distances"].values():
        for entry in measured["pairs"]:
            entry["sites"] = ["<b>north</b>", "st.mary"]
        if "within_sites" in measured:
            measured["within_sites"] = {"<b>north</b>": 0.01, "st.mary": 0.01}
    page = statistics_page(statistics_document, "tiny <i>")
    assert "<b>north" not in page
    assert "<i>" not in page
    assert not re.search(r"(?:src|href)=", page)
    assert page.count("<svg") >= 3


def test_a_run_without_statistics_has_no_section(statistics_document):
    assert statistics_section(None) == ""
    assert statistics_section({**copy.deepcopy(statistics_document), "sites": {}}) == ""


def test_a_heat_map_has_every_square_and_says_its_figures():
    drawing = heat_map("Grey", ["a", "b", "c"], {("a", "b"): 0.5, ("a", "c"): None, ("b", "c"): 0.25}, {"a": 0.1})
    assert drawing.count('class="heat"') == 9
    assert 'aria-label="Grey: a and b 0.500; a and c undefined; b and c 0.250."' in drawing
    assert drawing.count(">0.50<") == 2
    assert drawing.count(">0.10<") == 1


def test_grey_levels_have_a_line_for_each_hospital_that_has_some():
    drawing = grey_level_chart("X-rays", {"a": [0.5, 0.5], "b": None, "c": [1.0, 0.0]})
    assert drawing.count("<path") == 2
    assert "a mean 128; c mean 64" in drawing
    assert grey_level_chart("X-rays", {"b": None}) is None
