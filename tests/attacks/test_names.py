"""Names that pass for another's, that nobody sees, or that a program takes for something else."""

import csv
import io
import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from fedthorax.cli.predict import write_csv
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.consortium.invitation import Invitation
from fedthorax.common.consortium.names import checked_hospital_name
from fedthorax.common.consortium.registration import Registration
from fedthorax.common.ground.cells import plain_cells
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.names import fault_of_name, same_look, skeleton
from fedthorax.common.record.history import history_csv
from fedthorax.server.central import CentralData

UNSEEN = ["\u3164", "\ufe0f", "\u034f", "\u2800", "\u1160", "\u115f", "\u17b4", "\uffa0", "\u200b", "\u202e", "\u200f"]
UNSEEN += ["\u061c", "\u00ad", "\U00016fe4", "\U0001d159", "\U000e0041"]


@pytest.mark.parametrize("unseen", UNSEEN, ids=[f"U+{ord(c):04X}" for c in UNSEEN])
@pytest.mark.parametrize("name", ["north{}", "{}north", "no{}rth"])
def test_a_name_with_a_character_that_nobody_sees_is_refused(name: str, unseen: str) -> None:
    with pytest.raises(ValueError, match=r"characters that nobody sees|begin or end with a space"):
        checked_hospital_name(name.format(unseen))


@pytest.mark.parametrize("name", ["n\u043erth", "Kl\u0438nik", "\u0391thens", "S\u00fcd\u0430"])
def test_letters_of_two_scripts_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not mix the scripts"):
        checked_hospital_name(name)


@pytest.mark.parametrize("name", ["\u0301north", "n\u0300\u0301\u0302\u0303orth", "\u20ddnorth"])
def test_marks_that_stand_alone_or_in_a_heap_are_refused(name: str) -> None:
    assert "combining mark" in str(fault_of_name(name))


@pytest.mark.parametrize("name", ["-rf", "+49", "@north", "--help", "=1+1", "\uff1d1", "\uff0b1", "\uff20x", "\ufe62x"])
def test_a_name_that_a_program_takes_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must"):
        checked_hospital_name(name)
    assert "an option or a formula" in str(fault_of_name(name))


@pytest.mark.parametrize(
    "name",
    [
        "St. Anna",
        "Süd-Klinik 2",
        "Hôpital Nord",
        "Клиника 1",
        "東京ホスピタル",
        "서울 병원",
        "مستشفى",
        "Αθήνα",
        "O'Neill",
    ],
)
def test_names_as_hospitals_have_them_are_taken(name: str) -> None:
    assert fault_of_name(name) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("north", "NORTH"),
        ("Ward 1", "Ward l"),
        ("Ward O", "Ward 0"),
        ("Ivy", "lvy"),
        ("modern", "rnodern"),
        ("\u0441\u043e\u0441\u043e", "coco"),  # Cyrillic alone, and Latin alone
        ("ﬁeld", "field"),
        ("\uff4eorth", "north"),
        ("n\u1ecdrth", "north"),  # a dot below
        ("n\u014drth", "NORTH"),
        ("Ward \u0661", "Ward 1"),  # an Arabic digit
        ("\U0001d427orth", "north"),
    ],
)
def test_names_that_a_reader_takes_for_each_other_are_the_same(one: str, other: str) -> None:
    assert same_look(one, other)
    assert same_look(other, one)


@pytest.mark.parametrize(("one", "other"), [("north", "south"), ("Ward 1", "Ward 2"), ("St. Anna", "St. Anne")])
def test_other_names_are_others(one: str, other: str) -> None:
    assert not same_look(one, other)


def test_the_skeleton_of_a_skeleton_is_itself() -> None:
    for text in ("north", "Ward l1I|", "modern", "\u0441\u043e\u0441\u043e", "0O", "wvv"):
        assert skeleton(skeleton(text)) == skeleton(text)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Mass", "=HYPERLINK(1)"], "an option or a formula"),
        (["Mass", "Mass\u3164"], "characters that nobody sees"),
        (["Mass", "M\u0430ss"], "must not mix the scripts"),
        (["Illness", "lllness"], "look alike"),
    ],
)
@pytest.mark.parametrize("key", ["findings", "cancer_classes"])
def test_findings_and_classes_have_the_same_rule(key: str, names: list[str], words: str) -> None:
    good = {"findings": ["Mass"], "cancer_classes": ["normal", "tumour"]}
    with pytest.raises(ValidationError, match=words):
        LabelsConfig.model_validate(good | {key: names})


def test_no_cell_that_a_spreadsheet_opens_is_a_formula() -> None:
    cells = plain_cells(["=cmd|' /C calc'!A0", "+1.png", "-x", "@sum", "\tx", "\rx", "\nx", "x=1", "", -0.5, 3])
    assert cells == ["'=cmd|' /C calc'!A0", "'+1.png", "'-x", "'@sum", "'\tx", "'\rx", "'\nx", "x=1", "", -0.5, 3]
    assert plain_cells([" =1+1", "\uff1d1+1", "\uff0b1"]) == ["' =1+1", "'\uff1d1+1", "'\uff0b1"]
    elsewhere = ["a;=1+1", "a;b", "a\t=1", "a\n@x", "a;  =1;+2"]  # where a cell ends at a semicolon
    assert plain_cells(elsewhere) == ["a;'=1+1", "a;b", "a\t'=1", "a\n'@x", "a;'  =1;'+2"]
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    assert next(csv.reader(io.StringIO(text.getvalue())))[0][0] == "'"


def test_the_files_that_people_open_in_a_spreadsheet_are_written_so(capsys: pytest.CaptureFixture[str]) -> None:
    images = SimpleNamespace(patients=["@patient"])
    central = SimpleNamespace(_relative=lambda images, row: "=1.png")
    assert CentralData._identity(central, "xray", images, 0) == ["xray", "'=1.png", "'@patient"]  # type: ignore[arg-type]
    row = {"xray": "=1.png", "ct": "-2.png", "disease": {"Mass": 0.5}, "cancer": {"normal": 1.0}}
    row |= {"predicted": {"findings": [], "cancer_class": "normal"}, "flags": {}}
    write_csv({"predictions": [row], "notice": "+notice"})
    cells = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1]
    assert [cell for cell in cells if cell.startswith("'")] == ["'=1.png", "'-2.png", "'+notice"]
    site = SimpleNamespace(train=None, valid=None)
    entry = SimpleNamespace(round=0, phase=None, central=None, seconds=1, bytes_sent=0, bytes_received=0)
    entry.sites = {"=north": site}
    run = SimpleNamespace(rounds=[entry])
    history = list(csv.reader(io.StringIO(history_csv(run))))  # type: ignore[arg-type]
    assert history[2][4] == "'=north"


@pytest.mark.parametrize("model", [Registration, Invitation])
@pytest.mark.parametrize("text", ["0.1.0\x1b[2J", "0.1\n0", "\u202e0.1", "", "1" * 65])
def test_what_the_other_side_prints_of_a_file_moves_no_terminal(model: type[Frozen], text: str) -> None:
    for field in {"software_version", "consortium"} & set(model.model_fields):
        with pytest.raises(ValidationError) as problem:
            model.model_validate_json(json.dumps({field: text}))
        assert ("string_pattern_mismatch", (field,)) in [(e["type"], e["loc"]) for e in problem.value.errors()]
