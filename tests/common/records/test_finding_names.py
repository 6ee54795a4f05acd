"""Names that may mean the same finding."""

import itertools

import pytest

from fedthorax.common.records.finding_names import did_you_mean, plain_name, same_finding
from fedthorax.common.records.layouts import NIH_FINDINGS


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("Efusion", "Effusion"),
        ("effusion", "Effusion"),
        ("Pleural Effusion", "Effusion"),
        ("Enlarged heart", "Cardiomegaly"),
        ("enlarged_heart", "Cardiomegaly"),
        ("Cardiomegalie", "Cardiomegaly"),
        ("pleural thickening", "Pleural_Thickening"),
        ("Pulmonary oedema", "Edema"),
        ("Œdème", None),
        ("hiatal hernia", "Hernia"),
        ("Lung Lesion", None),
        ("Lung Opacity", None),
        ("scoliosis", None),
        ("pneumoconiosis", None),
        ("", None),
        ("_", None),
    ],
)
def test_other_spellings_synonyms_and_slips_are_guessed_and_relatives_are_not(name: str, guess: str | None) -> None:
    assert same_finding(name, sorted(NIH_FINDINGS)) == guess


def test_no_finding_of_the_nih_collection_passes_for_another() -> None:
    for one, other in itertools.permutations(NIH_FINDINGS, 2):
        assert same_finding(one, [other]) is None


def test_a_synonym_that_the_consortium_uses_itself_is_found() -> None:
    assert same_finding("Effusion", ["Mass", "Pleural Effusion"]) == "Pleural Effusion"
    assert plain_name("Ödem-A_b c") == "odemabc"


def test_a_suggestion_is_made_only_for_what_is_near() -> None:
    assert did_you_mean("tumor", ["normal", "tumour"]) == " (did you mean 'tumour'?)"
    assert did_you_mean("xyz", ["normal", "tumour"]) == ""
