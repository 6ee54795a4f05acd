import json
from dataclasses import replace

import numpy as np
import pytest

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.hospital.overlap import without
from fedthorax.common.metrics.operating import OperatingPoints, fixed_operating_points
from fedthorax.common.records.records import Attributes
from fedthorax.common.training.final_scores import calibrated
from fedthorax.common.training.hospital_scores import hospital_tests, validation_histograms
from fedthorax.common.training.scoring import Repeats, predict, scores_of

from ...heads import disease_scores


@pytest.fixture
def site(draw_images):
    return SiteImages(
        "north", {"train": draw_images(4, 4, 1), "valid": draw_images(48, 40, 2), "test": draw_images(30, 24, 3)}
    )


def results_of(fresh, store, site, points, policy=None):
    return hospital_tests(fresh, store, site, points, lambda split: {"valid": 5, "test": 6}[split], policy)


@pytest.fixture
def common(fresh):
    labels = fresh.experiment.labels
    return fixed_operating_points(labels.findings, labels.cancer_classes, 0.3, "of this test")


def test_the_same_images_are_scored_at_the_common_thresholds_and_at_the_hospitals_own(fresh, store, site, common):
    results = results_of(fresh, store, site, common)
    own = OperatingPoints.model_validate_json(json.dumps(results["operating_points"]))
    assert own.site == "north"
    assert {label.method for label in own.disease.values()} == {"youden"}
    raw, losses = predict(fresh, store, site.splits["test"], 6, repeats=Repeats(1, 1))
    for points, name in ((common, "test"), (own, "test_at_own_thresholds")):
        alone = scores_of(fresh, site.splits["test"], calibrated(raw, points), losses, points.disease_thresholds)
        assert {key: value for key, value in results[name].items() if key not in ("intervals", "examinations")} == alone
        assert results[name]["intervals"]["disease"]["macro"]["roc_auc"]
    assert (
        results["test"]["disease"]["macro"]["roc_auc"]
        == results["test_at_own_thresholds"]["disease"]["macro"]["roc_auc"]
    )


def test_validation_images_are_counted_by_score_and_bins_of_few_stay(fresh, store, site, common):
    softened = common.model_copy(update={"cancer_temperature": 20.0})
    told = validation_histograms(fresh, store, site, softened, 5, None)
    valid, findings = site.splits["valid"], fresh.experiment.labels.findings
    for column, name in enumerate(findings):
        counts = [int(np.nansum(valid.xray.targets[:, column] == label)) for label in (1, 0)]
        assert [sum(told["disease"][name][kind]) for kind in ("present", "absent")] == counts
    for name, histogram in told["cancer"].items():  # classes at the common temperature: 20 leaves all near one half
        edges, counts = np.array(histogram["edges"]), np.add(histogram["present"], histogram["absent"])
        assert 40 < edges[:-1][counts > 0].min() < edges[1:][counts > 0].max() < 60, name
    few = PrivacyConfig(smallest_count=49, round_to=5)
    assert set(validation_histograms(fresh, store, site, common, 5, few)["disease"].values()) == {None}


def test_thresholds_leave_without_counts_of_images(fresh, store, site, common):
    told = results_of(fresh, store, site, common)["operating_points"]
    for label in (*told["disease"].values(), *told["cancer"].values()):
        assert label["positives"] is label["negatives"] is label["sensitivity"] is None
        assert not any(character.isdigit() for reason in label["reasons"] for character in reason.replace("10", ""))


def test_a_hospital_with_too_few_images_chooses_nothing(fresh, store, draw_images, common):
    site = SiteImages(
        "north", {"train": draw_images(4, 4, 1), "valid": draw_images(6, 6, 2), "test": draw_images(30, 24, 3)}
    )
    results = results_of(fresh, store, site, common)
    assert results["operating_points"] is results["test_at_own_thresholds"] is None
    assert results["test"]["disease"]["macro"]["roc_auc"] is not None


def test_copies_of_images_that_were_trained_on_are_scored_apart(fresh, store, draw_images, common):
    splits = {"train": draw_images(30, 24, 3), "valid": draw_images(6, 6, 2), "test": draw_images(30, 24, 3)}
    assert "test_with_duplicates" in (results := results_of(fresh, store, SiteImages("north", splits), common))
    assert results["test"]["disease"]["macro"]["roc_auc"] is None, "all were copies"
    assert results["test_with_duplicates"]["disease"]["macro"]["roc_auc"] is not None


def test_figures_with_so_few_copies_that_the_difference_tells_of_each_stay_at_the_hospital(
    fresh, store, draw_images, common
):
    test = draw_images(30, 24, 3)
    policy = PrivacyConfig(smallest_count=5, round_to=5)

    def told(copies, policy):
        train = SplitImages(without(test.xray, tuple(range(copies, 30))), without(test.ct, tuple(range(24))))
        splits = {"train": train, "valid": draw_images(6, 6, 2), "test": test}
        return "test_with_duplicates" in results_of(fresh, store, SiteImages("north", splits), common, policy)

    test.xray.targets[:] = np.tile([[1], [0]], (15, test.xray.targets.shape[1]))
    assert not told(8, policy)  # four with each finding, four without
    assert told(10, policy)
    assert told(8, None)  # a simulation, whose images all have one owner


def test_groups_of_a_hospitals_patients_are_scored_apart_at_the_common_thresholds(fresh, store, site, common):
    test = site.splits["test"]
    women = np.arange(len(test.xray)) % 2 == 0
    test.xray.targets[:, 1] = np.arange(len(test.xray)) % 4 < 2  # seven or eight women have Mass, and as many lack it
    sexes = tuple(Attributes(sex="F" if woman else "M") for woman in women)
    known = SplitImages(replace(test.xray, attributes=sexes), test.ct)
    site = SiteImages("north", {**site.splits, "test": known})
    told = results_of(fresh, store, site, common)["subgroups"]
    assert told["cancer"] == {}
    probability = calibrated(predict(fresh, store, known, 6, repeats=Repeats(1, 1))[0], common).disease
    alone = disease_scores(
        test.xray.targets[women], probability[women], fresh.experiment.labels.findings, common.disease_thresholds
    )
    row = told["disease"]["sex"]["groups"]["F"]["labels"]["Mass"]
    assert (row["support"], row["recall"]["value"]) == (
        alone["per_finding"]["Mass"]["support"],
        alone["per_finding"]["Mass"]["recall"],
    )
    policy = PrivacyConfig(smallest_count=16, round_to=5)
    hidden = results_of(fresh, store, site, common, policy)["subgroups"]["disease"]["sex"]
    assert hidden["groups"]["F"] == {"images": None, "reason": "Fewer than 16 patients: hidden."}


def test_a_single_pair_is_scored_as_predict_scores_it(fresh, store, draw_images, monkeypatch):
    """evaluation.partners is for the rounds: calibration and thresholds must not see means over several pairs."""
    drawn = draw_images(5, 5, 3)
    evaluation = fresh.experiment.evaluation.model_copy(update={"partners": 4})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"evaluation": evaluation}))
    calls = []
    real = fresh.logits_of_pooled
    monkeypatch.setattr(fresh, "logits_of_pooled", lambda *rest: calls.append(1) or real(*rest))
    predict(fresh, store, drawn, 5)
    during_rounds = len(calls)
    predict(fresh, store, drawn, 5, repeats=Repeats(1, 1))
    assert during_rounds == 4 * (len(calls) - during_rounds)
    assert np.isfinite(predict(fresh, store, drawn, 5, repeats=Repeats(1, 1))[0].disease).all()
