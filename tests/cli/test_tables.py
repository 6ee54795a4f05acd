"""Scores as text."""

from typing import Any

import numpy as np

from fedthorax.cli.tables import aligned, duplicate_lines, headline_lines, number, score_lines
from fedthorax.common.record.run import read_run

from ..heads import cancer_scores, disease_scores
from ..runs import central_test, intervals, partial_run


def _scores() -> dict[str, Any]:
    truth = np.array([[1, 0], [0, 0], [1, np.nan], [0, 0]], np.float32)
    probability = np.array([[0.9, 0.1], [0.2, 0.2], [0.4, 0.9], [0.1, 0.3]], np.float32)
    classes = np.array([0, 1, 1, -1])
    guesses = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]], np.float32)
    return {
        "loss": 1.0,
        "disease_loss": 0.4,
        "cancer_loss": None,
        "disease": disease_scores(truth, probability, ["Effusion", "Mass"], 0.5),
        "cancer": cancer_scores(classes, guesses, ["normal", "large.cell.carcinoma.of.the.lung"]),
    }


def test_scores_stand_in_two_tables_with_the_reason_for_every_dash() -> None:
    lines = score_lines(_scores())
    assert max(map(len, lines)) <= 100
    assert lines[:4] == [
        "Findings on X-ray, loss 0.4000",
        "               ROC-AUC  precision  recall     F1  accuracy  positive  known",
        "Effusion         1.000      1.000   0.500  0.667     0.750         2      4",
        "Mass                 -          -       -      -     1.000         0      3",
    ]
    assert "macro mean       1.000      1.000   0.500  0.667     0.875" in lines
    reasons = " ".join(line.strip() for line in lines if line.startswith("  "))
    assert "Mass: ROC-AUC, PR-AUC, sensitivity at specificity 0.9, recall" in reasons
    assert reasons.count("None of the known labels (3) is present.") == 1
    classes = lines.index("Classes on CT")
    assert lines[classes + 2] == "normal                        1.000      0.500   1.000  0.667       1"
    assert lines[classes + 3].startswith("large.cell.carcinoma.of...")
    assert "accuracy 0.667" in lines
    assert lines[-3:] == [
        "true class / predicted as   (1)  (2)",
        "(1) normal                    1    0",
        "(2) large.cell.carcinom...    1    1",
    ]


def test_findings_that_nobody_labelled_have_no_rows_and_one_sentence() -> None:
    truth = np.array([[1, np.nan], [0, np.nan]], np.float32)
    names = ["Effusion", "Mass that nobody here has ever annotated at all"]
    disease = disease_scores(truth, np.array([[0.9, 0.1], [0.2, 0.2]], np.float32), names, 0.5)
    between = {"disease": {"macro": {"roc_auc": [0.9, 1.0]}}}
    lines = score_lines(_scores() | {"disease": disease, "intervals": between})
    assert not [line for line in lines if line.startswith("Mass")]
    assert "macro ROC-AUC 1.000, 95 % interval 0.900 to 1.000" in lines
    assert "  No label is known of Mass that nobody here has ever annotated at all." in lines


def test_the_headline_has_intervals_where_there_are_some() -> None:
    between = intervals({"macro": {"roc_auc": [0.9, 1.0]}}, {})
    run = read_run(partial_run(test=central_test(**_scores(), intervals=between)))
    assert run.test is not None
    assert headline_lines(run.test) == [
        "  X-ray findings, macro ROC-AUC   1.000  (0.900 to 1.000)",
        "  X-ray findings, macro F1        0.667",
        "  CT classes, accuracy            0.667",
        "  CT classes, macro ROC-AUC       1.000",
        "  CT classes, macro F1            0.667",
    ]


def test_an_undefined_number_is_a_dash() -> None:
    assert (number(None), number(0.0), number(0.12345, 4)) == ("-", "0.000", "0.1235")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("", "x"), ("ab", "100")]) == ["      x", "ab  100"]


def test_figures_with_copies_stand_beside_those_without():
    def scores(roc_auc, accuracy):
        return {
            "disease": {"macro": {"roc_auc": roc_auc}},
            "cancer": {"macro": {"roc_auc": None}, "accuracy": accuracy},
        }

    lines = duplicate_lines(scores(0.7, 0.6), scores(0.8, 0.75), 2)
    assert lines[1] == "2 test images also stand where the model was trained or selected: left out above"
    assert lines[3].split()[-2:] == ["0.700", "0.800"]
    assert lines[4].split()[-2:] == ["-", "-"]
    assert lines[5].split()[-2:] == ["0.600", "0.750"]
    names = [line.partition("  ")[0] for line in lines[3:]]
    assert names == ["findings, macro ROC-AUC", "classes, macro ROC-AUC", "classes, accuracy"]
    assert max(map(len, duplicate_lines(scores(0.7, 0.6), scores(0.8, 0.75), 1234))) <= 80


def test_of_a_kind_of_image_that_nobody_labelled_one_line_says_so():
    unknown = np.full((4, 2), np.nan, np.float32)
    half = np.full((4, 2), 0.5, np.float32)
    no_class = {"cancer": cancer_scores(np.full(4, -1), half, ["normal", "tumour"])}
    lines = score_lines(_scores() | no_class)
    assert lines[0] == "Findings on X-ray, loss 0.4000"
    assert lines[-2:] == ["", "Classes on CT: there is no CT slice with a known class"]
    no_finding = {"disease": disease_scores(unknown, half, ["Effusion", "Mass"], 0.5)}
    assert score_lines(_scores() | no_finding)[:3] == [
        "Findings on X-ray: there is no X-ray with a known finding",
        "",
        "Classes on CT",
    ]
