import pytest

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.metrics.score_histogram import ScoreHistogram
from fedthorax.server.pooling import Pooling

LABELS = LabelsConfig(findings=("Mass",), cancer_classes=("normal", "tumour"))
HISTOGRAM = ScoreHistogram(2, (0, 1, 2), (0, 4), (4, 0)).as_dict()


def told(mass=HISTOGRAM, normal=None):
    return {"disease": {"Mass": mass}, "cancer": {"normal": normal, "tumour": None}}


def test_images_of_all_hospitals_that_tell_are_scored_together():
    pooling = Pooling(LABELS, 2)
    pooling.add("south", told())
    pooling.add("north", told())
    pooling.add("east", told(mass=None, normal=HISTOGRAM))
    document = pooling.document()
    mass = document["disease"]["Mass"]
    assert (mass["present"], mass["absent"], mass["hospitals"]) == (8, 8, ["north", "south"])
    assert mass["roc_auc"] == {"value": 1.0, "lowest": 1.0, "highest": 1.0}
    assert document["cancer"]["normal"]["hospitals"] == ["east"]
    assert document["cancer"]["tumour"]["roc_auc"] is None
    assert document["cancer"]["tumour"]["reason"] == "no hospital tells how its images are scored"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "expected histograms of disease and cancer"),
        ({"disease": {"Hernia": None}, "cancer": {"normal": None, "tumour": None}}, "expected histograms of Mass"),
        (told(mass={"bins": 3}), "expected a histogram of 2 bins"),
    ],
)
def test_what_is_no_histogram_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        Pooling(LABELS, 2).add("north", value)
