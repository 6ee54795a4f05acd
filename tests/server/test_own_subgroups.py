import json

import numpy as np
import pytest

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.subgroups import disease_answers, subgroup_scores
from fedthorax.common.records.records import Attributes
from fedthorax.server.own_subgroups import MOST_GROUPS, check_own_subgroups

LABELS = LabelsConfig(findings=("Mass", "Nodule"), cancer_classes=("normal", "tumour"))


@pytest.fixture
def told():
    """Of 80 patients; lateral images are few, and Nodule is rare."""
    rng = np.random.default_rng(1)
    truth = (rng.random((80, 2)) < [0.5, 0.1]).astype(float)
    answers = disease_answers(truth, rng.random((80, 2)), [0.5, 0.5])
    attributes = [Attributes(sex="FM"[row % 2], view="LL" if row < 2 else "PA") for row in range(80)]
    patients = [f"p{row}" for row in range(80)]
    found = subgroup_scores(answers, patients, attributes, LABELS.findings, 20, 0, PrivacyConfig(), True)
    return json.loads(json.dumps({"disease": found, "cancer": None}))


def test_what_a_hospital_computes_is_taken_and_so_is_nothing(told):
    assert told["disease"]["view"]["groups"]["LL"]["images"] is None
    for one in (told, None, {"disease": {}, "cancer": {}}):
        check_own_subgroups(one, LABELS)


def women(told):
    return told["disease"]["sex"]["groups"]["F"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda told: told.update(lungs={}), "expected those of disease and cancer"),
        (lambda told: told["disease"].update(religion={}), "at religion"),
        (lambda told: women(told)["mean"]["recall"].update(value=1.5), "less than or equal to 1 at sex.groups.F"),
        (lambda told: women(told).update(images="many"), "valid integer at sex.groups.F"),
        (lambda told: women(told)["labels"].pop("Mass"), "they are of Nodule, expected Mass, Nodule"),
        (lambda told: women(told)["mean"].update(labels=["Hernia"]), "they are of Mass, Nodule, expected"),
        (
            lambda told: told["disease"]["sex"]["groups"].update(
                {f"scanner {number}": {"images": None, "reason": "x"} for number in range(MOST_GROUPS + 1)}
            ),
            f"at most {MOST_GROUPS} items",
        ),
    ],
)
def test_anything_else_is_refused_with_the_reason(told, spoil, message):
    spoil(told)
    with pytest.raises(ValueError, match=message):
        check_own_subgroups(told, LABELS)
