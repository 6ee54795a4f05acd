"""Ids that a spreadsheet changed are asked about, and an error where they cross a split."""

from pathlib import Path

import pytest

from fedthorax.common.hospital.labelled import LabelledImage
from fedthorax.common.hospital.patient_ids import unclear_issues, unclear_patients
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import ImageRef, Split


def image(patient: str, split: Split | None = None, modality: Modality = "xray", known: bool = True) -> LabelledImage:
    name = f"{patient}-{split}.png"
    return LabelledImage(modality, ImageRef(Path(name)), name, patient, (), split, identified=known)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("00123", "123"),
        ("123", "123.0"),
        ("100.0", "00100"),
        ("P7", "p7"),
        ("P007", "P7"),
        ("P-7", "p 7"),
        ("P_7", "P7"),
        ("'00123", "123"),
        ("12,345", "12345"),
        ("1.234.567", "1234567"),
        ("Müller-3", "MU\u0308LLER 3"),
        ("\uff11\uff12", "12"),
        ("1.23457E+11", "123456789012"),
        ("1,23457E+11", "123456789012"),
        ("2024-01-05", "05.01.2024"),
        ("2024-01-05", "1/5/2024"),
        ("2024-01-05", "2024-01-05 00:00:00"),
        ("7/1", "7-1"),
        ("P.7", "P7"),
        ("123.", "123"),
        ("+123", "123"),
        ("#123", "123"),
        ("12\u200b3", "123"),
        ("123456789012345000", "123456789012345678"),
    ],
)
def test_two_spellings_of_an_id_are_one_question(one: str, other: str) -> None:
    (issue,) = unclear_issues(unclear_patients([image(one), image(other, modality="ct"), image("another")]))
    assert (issue.code, issue.count) == ("patient-unclear", 1)
    assert {told.rpartition(" (")[0] for told in issue.groups[0]} == {one, other}
    assert one not in issue.sentence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("123", "1230"),
        ("P7", "P70"),
        ("P1-1", "P11"),
        ("1.2.840.1", "1.2.840.10"),
        ("1.02", "1.2"),
        ("2168e917", "2168e918"),
        ("10", "100"),
        ("A", "B"),
        ("3e12", "3e13"),
        ("2024-01-05", "2024-05-01"),
        ("-123", "123"),
        ("1234567890123450", "9876543210987654"),
        ("martin-12", "mar-123"),
    ],
)
def test_different_ids_are_no_question(one: str, other: str) -> None:
    assert unclear_patients([image(one), image(other)]) == []


def test_it_is_an_error_where_they_stand_on_two_sides() -> None:
    held = [image("00123", "train"), image("123", "test"), image("P7", "train"), image("p7", "train")]
    torn, quiet = unclear_issues(unclear_patients(held))
    assert (torn.code, torn.level, torn.count) == ("patient-unclear-across-splits", "error", 1)
    assert torn.groups == (("00123 (1 X-ray)", "123 (1 X-ray)"),)
    assert (quiet.code, quiet.level) == ("patient-unclear", "warning")


@pytest.mark.parametrize("id_", ["5-Jan", "1. Mrz", "Mar-01", "12-Dez"])
def test_a_date_may_be_what_a_spreadsheet_made_of_other_ids(id_: str) -> None:
    (group,) = unclear_patients([image(id_), image("another")])
    assert [held.patient for held in group] == [id_]


@pytest.mark.parametrize("word", ["NA", "unknown", "n/a", "?", "Anonymous", "#REF!"])
def test_a_word_in_the_place_of_an_id_may_be_several_people(word: str) -> None:
    (group,) = unclear_patients([image(word), image(word, modality="ct"), image("another")])
    assert [held.patient for held in group] == [word, word]


def test_numbers_that_are_all_cut_to_fifteen_digits_may_each_be_several_people() -> None:
    ids = ["123456789012345000", "223456789012345000", "323456789012345000"]
    assert [[held.patient for held in group] for group in unclear_patients(map(image, ids))] == [[one] for one in ids]
    assert unclear_patients(map(image, [*ids, "423456789012345678"])) == []


def test_a_rounded_id_may_hide_several_people_by_itself() -> None:
    (issue,) = unclear_issues(unclear_patients([image("1.23457E+11")] * 8))
    assert issue.groups == (("1.23457E+11 (8 X-rays)",),)


def test_images_of_nobody_are_not_asked_about() -> None:
    assert unclear_patients([image("X-ray 01.png", known=False), image("X-ray 1.png", known=False)]) == []
