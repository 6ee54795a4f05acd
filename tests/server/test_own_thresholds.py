import pytest

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.metrics.operating import fixed_operating_points
from fedthorax.server.own_thresholds import check_own_thresholds

LABELS = LabelsConfig(findings=("Mass", "Nodule"), cancer_classes=("normal", "tumour"))


def told(**changes):
    points = fixed_operating_points(LABELS.findings, LABELS.cancer_classes, 0.5, "x").model_dump(mode="json")
    return {"operating_points": {**points, "site": "north", **changes}}


def test_thresholds_of_all_labels_of_a_task_or_of_none_are_taken():
    for results in ({}, {"operating_points": None}, told(), told(cancer={}), told(disease={}, cancer={})):
        check_own_thresholds(results, "north", LABELS)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (told(site="south"), "they are of 'south'"),
        (told(disease={"Mass": told()["operating_points"]["disease"]["Mass"]}), "they are of Mass, expected Mass, Nod"),
        (told(cancer_temperature="hot"), "at cancer_temperature"),
        ({"operating_points": {"disease": 3}}, "Field required at site"),
    ],
)
def test_anything_else_is_refused_with_the_reason(results, message):
    with pytest.raises(ValueError, match=message):
        check_own_thresholds(results, "north", LABELS)
