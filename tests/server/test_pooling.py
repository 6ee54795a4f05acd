from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.metrics.score_histogram import ScoreHistogram
from fedthorax.common.metrics.scores import Histograms
from fedthorax.server.pooling import Pooling

from ..told import read

LABELS = LabelsConfig(findings=("Mass",), cancer_classes=("normal", "tumour"))
HISTOGRAM = ScoreHistogram(bins=2, edges=(0, 1, 2), present=(0, 4), absent=(4, 0)).model_dump(mode="json")


def told(mass=HISTOGRAM, normal=None):
    return read(Histograms, disease={"Mass": mass}, cancer={"normal": normal, "tumour": None})


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
