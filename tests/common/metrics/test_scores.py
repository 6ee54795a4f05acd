"""Scores as models: what the arithmetic gives fits, and what it does not give is refused."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from fedthorax.common.ground.leaving import require_rules
from fedthorax.common.metrics.score_histogram import ScoreHistogram, score_histogram
from fedthorax.common.metrics.scores import (
    BothHeads,
    ComparedHeads,
    Histograms,
    Personal,
    Scores,
    Subgroups,
    TestedScores,
)

from ...heads import bootstrap_cancer, bootstrap_disease, cancer_scores, compare_cancer, compare_disease, disease_scores

FINDINGS, CLASSES = ("Mass", "Hernia"), ("normal", "tumour")
random = np.random.default_rng(3)
TRUTH = np.column_stack([random.integers(0, 2, 40), np.full(40, np.nan)])
PROBABILITY = random.random((40, 2))
KINDS = random.integers(0, 2, 30)
OF_KINDS = random.dirichlet((1, 1), 30)
PATIENTS = [f"p{row // 2}" for row in range(40)]


def of_both_heads() -> dict:
    return {
        "loss": 1.0,
        "disease_loss": 0.5,
        "cancer_loss": None,
        "disease": disease_scores(TRUTH, PROBABILITY, FINDINGS, 0.5),
        "cancer": cancer_scores(KINDS, OF_KINDS, CLASSES),
        "intervals": {
            "disease": bootstrap_disease(TRUTH, PROBABILITY, PATIENTS, FINDINGS, 0.5, 20, 1),
            "cancer": bootstrap_cancer(KINDS, OF_KINDS, PATIENTS[:30], CLASSES, 20, 1),
        },
    }


def compared() -> dict:
    rest = (30, 1)
    return {
        "disease": compare_disease(TRUTH, PROBABILITY, PROBABILITY[:, ::-1], PATIENTS, FINDINGS, *rest),
        "cancer": compare_cancer(KINDS, OF_KINDS, OF_KINDS[:, ::-1], PATIENTS[:30], CLASSES, *rest),
    }


@pytest.mark.parametrize(
    ("model", "value"),
    [
        (TestedScores, of_both_heads()),
        (ComparedHeads, compared()),
        (ScoreHistogram, score_histogram(TRUTH[:, 0], PROBABILITY[:, 0], 50, 3).model_dump(mode="json")),
    ],
)
def test_what_is_computed_comes_back_as_it_went(model, value):
    text = json.dumps(value, allow_nan=False)
    assert json.loads(model.model_validate_json(text).model_dump_json(exclude_unset=True)) == json.loads(text)


@pytest.mark.parametrize(
    ("place", "wrong", "words"),
    [
        (("disease", "macro", "roc_auc"), 1.5, "less than or equal to 1"),
        (("disease", "macro", "roc_auc"), "0.5", "valid number"),
        (("disease", "per_finding", "Mass", "rows"), [], "Extra inputs"),
        (("disease", "per_finding", "Mass", "support"), -1, "greater than or equal to 0"),
        (("cancer", "confusion_matrix"), [[1.5]], "valid integer"),
        (("intervals", "disease", "macro", "secret"), [0.0, 1.0], "no figures"),
        (("cancer",), None, "should be an object"),
    ],
)
def test_what_no_score_has_is_refused(place, wrong, words):
    value = of_both_heads()
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    with pytest.raises(ValidationError, match=words):
        TestedScores.model_validate_json(json.dumps(value))


@pytest.mark.parametrize(
    "model", [Scores, TestedScores, BothHeads, Subgroups, Histograms, ComparedHeads, Personal], ids=lambda m: m.__name__
)
def test_every_field_says_by_which_rule_it_may_leave_a_hospital(model):
    require_rules(model)
