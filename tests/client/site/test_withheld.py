"""What a hospital keeps to itself."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.client.site.settings import Limits
from fedthorax.client.site.withheld import left as may_leave
from fedthorax.client.site.withheld import what_may_leave
from fedthorax.common.messages.message import Reply
from fedthorax.common.metrics.cancer import cancer_scores
from fedthorax.common.metrics.disease import disease_scores
from fedthorax.common.metrics.score_histogram import score_histogram

FOLDERS = (Path("/img/xray"), Path("/img/ct"))


def _scores() -> dict[str, Any]:
    """Effusion: 2 of 4 X-rays, Mass: 1 of 4; normal: 3 of 4 slices, tumour: 1."""
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    guess = np.array([[0.9, 0.2], [0.4, 0.1], [0.6, 0.7], [0.1, 0.3]], np.float32)
    classes = np.array([0, 0, 0, 1])
    said = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]], np.float32)
    return {
        "loss": 1.0,
        "disease_loss": 0.5,
        "cancer_loss": 0.5,
        "disease": disease_scores(truth, guess, ("Effusion", "Mass"), 0.5),
        "cancer": cancer_scores(classes, said, ("normal", "tumour")),
    }


def _left(limits: Limits, kind: str = "train", **results: Any) -> dict[str, Any]:
    return may_leave(kind, copy.deepcopy(results), limits)


def _failed(error: str) -> Reply:
    return Reply(kind="train", site="north", round=1, error=error)


def test_by_default_every_score_leaves_as_it_is() -> None:
    assert _left(Limits(), valid=_scores()) == {"valid": _scores()}


def test_a_score_over_few_images_is_null_with_its_reason_and_cannot_be_worked_out_from_the_means() -> None:
    left = _left(Limits(smallest_count=2), valid=_scores())["valid"]
    mass, effusion = left["disease"]["per_finding"]["Mass"], left["disease"]["per_finding"]["Effusion"]
    assert mass["roc_auc"] is None
    assert mass["reasons"]["roc_auc"] == "Fewer than 2 images: the hospital keeps it."
    assert (mass["support"], mass["known"]) == (None, 4)
    assert effusion["roc_auc"] == 0.75
    assert left["disease"]["macro"]["roc_auc"] == 0.75
    assert left["disease"]["macro"]["num_findings"]["roc_auc"] == 1
    assert left["disease"]["micro"]["roc_auc"] is None
    assert left["cancer"]["per_class"]["tumour"]["recall"] is None
    assert left["cancer"]["confusion_matrix"] is None
    assert left["cancer"]["accuracy"] is None
    assert left["cancer"]["macro"]["f1"] == left["cancer"]["per_class"]["normal"]["f1"]
    json.dumps(left, allow_nan=False)


def test_an_interval_leaves_only_beside_its_figure() -> None:
    scores = _scores()
    of_row = {"roc_auc": [0.1, 0.9], "recall": None}
    scores["intervals"] = {
        "disease": {"samples": 9, "macro": of_row, "per_finding": {"Effusion": of_row, "Mass": of_row}},
        "cancer": {"accuracy": [0.2, 0.8], "macro": of_row, "per_class": {"normal": of_row, "tumour": of_row}},
    }
    assert _left(Limits(), test=scores)["test"]["intervals"] == scores["intervals"]
    left = _left(Limits(smallest_count=2), test=scores)["test"]["intervals"]
    assert left["disease"] == {"samples": 9, "macro": None, "per_finding": {"Effusion": of_row, "Mass": None}}
    assert left["cancer"]["accuracy"] is left["cancer"]["macro"] is left["cancer"]["per_class"]["tumour"] is None
    assert left["cancer"]["per_class"]["normal"] == of_row


def test_thresholds_leave_with_the_scores_that_they_are_for() -> None:
    points = {"site": "north", "disease": {"Mass": {"threshold": 0.3}}, "cancer": {"normal": {"threshold": 0.4}}}
    kept = _left(Limits(metrics=("loss", "disease")), operating_points=points)
    assert kept["operating_points"] == {**points, "cancer": {}}
    assert _left(Limits(), operating_points=None) == {"operating_points": None}


def test_histograms_leave_beside_scores_and_those_of_few_images_stay() -> None:
    many = score_histogram(np.arange(20) % 2 == 0, np.linspace(0, 1, 20), 4).as_dict()
    few = score_histogram(np.arange(20) == 0, np.linspace(0, 1, 20), 4).as_dict()
    told = {"disease": {"Effusion": many, "Mass": few}, "cancer": {"normal": many, "tumour": None}}
    assert _left(Limits(), histograms=told)["histograms"] == told
    left = _left(Limits(smallest_count=2), histograms=told)["histograms"]
    assert left["disease"]["Effusion"] is not None
    assert left["disease"]["Mass"] is None
    assert left["cancer"]["tumour"] is None


def test_scores_by_subgroup_leave_with_the_scores_of_their_task() -> None:
    told = {"disease": {"sex": {"unknown": 0, "groups": {}}}, "cancer": {}}
    assert _left(Limits(), subgroups=told)["subgroups"] == told
    left = _left(Limits(metrics=("loss", "cancer")), subgroups=told)["subgroups"]
    assert left == {"disease": None, "cancer": {}}
    assert _left(Limits(), subgroups=None)["subgroups"] is None


def test_a_group_of_scores_that_is_not_allowed_is_null_throughout() -> None:
    train = {"loss": 1.0, "disease_loss": 1.0, "cancer_loss": 1.0, "pairs": 4}
    left = _left(Limits(metrics=("cancer",)), valid=_scores(), train=train)
    assert (left["valid"]["loss"], left["train"]["loss"], left["train"]["pairs"]) == (None, None, 4)
    assert all(row["f1"] is None for row in left["valid"]["disease"]["per_finding"].values())
    assert left["valid"]["disease"]["macro"]["f1"] is None
    assert left["valid"]["cancer"] == _scores()["cancer"]


def test_small_counts_stay_here() -> None:
    split = {"xray": 9, "ct": 3, "findings": {"Mass": {"present": 2, "absent": 7}}}
    data = {"splits": {"train": split}, "skipped": []}
    left = _left(Limits(smallest_count=5), "describe", data=data)
    assert left["data"]["splits"]["train"] == {
        "xray": 9,
        "ct": None,
        "findings": {"Mass": {"present": None, "absent": 7}},
    }


def test_an_error_that_names_the_sites_folders_does_not_leave() -> None:
    reply = _failed("1 files cannot be used: /img/xray/Smith_John.png is cut off")
    left = what_may_leave(reply, Limits(), FOLDERS)
    assert left.error == "north: it cannot do the task; the hospital's own log says why"
    cache = _failed("[Errno 28] No space left on device: '/var/cache/Smith John.npy'")
    assert what_may_leave(cache, Limits(), FOLDERS).error == left.error
    asked = _failed("the hospital allows at most 0.1 learning rate (limits.max_learning_rate)")
    assert what_may_leave(asked, Limits(), FOLDERS) == asked
    other = _failed("unknown task")
    assert what_may_leave(other, Limits(), FOLDERS) == other


def _personal() -> dict[str, Any]:
    row = {"support": 12, "known": 40, "descriptive": False, "first": 0.8, "second": 0.7, "difference": 0.1}
    rest = {"interval": [0.0, 0.2], "p_value": 0.04, "p_holm": 0.08, "reason": None}
    rows = [{"name": "Effusion", **row, **rest}, {"name": "Mass", **row, **rest, "support": 3}]
    cancer = [{"name": "tumour", **row, **rest}]
    mean = {"names": ["Effusion"], "first": 0.8, "second": 0.7}
    return {
        "kept": "outputs",
        "valid_loss": {"common": 1.0, "outputs": 0.9},
        "common": _scores(),
        "own": None,
        "comparison": {
            "disease": {"rows": rows, "mean": mean},
            "cancer": {"rows": cancer, "mean": None, "accuracy": {"first": 0.5}},
        },
    }


def test_of_a_hospitals_own_model_the_same_scores_stay_as_of_the_common_one() -> None:
    assert _left(Limits(), "personalise", **_personal()) == _personal()
    left = _left(Limits(smallest_count=5), "personalise", **_personal())
    effusion, mass = left["comparison"]["disease"]["rows"]
    assert effusion["difference"] == 0.1
    assert (mass["first"], mass["support"], mass["p_value"]) == (None, None, None)
    assert mass["reason"] == "Fewer than 5 images: the hospital keeps it."
    assert left["comparison"]["disease"]["mean"] == {"names": ["Effusion"], "first": 0.8, "second": 0.7}
    assert left["common"]["disease"]["per_finding"]["Mass"]["roc_auc"] is None
    few = _left(Limits(smallest_count=15), "personalise", **_personal())
    assert few["comparison"]["disease"]["mean"] is None


def test_groups_of_scores_that_stay_stay_of_the_own_model_too() -> None:
    left = _left(Limits(metrics=("cancer",)), "personalise", **_personal())
    assert left["valid_loss"] == {"common": None, "outputs": None}
    assert left["comparison"]["disease"] is None
    assert left["comparison"]["cancer"]["accuracy"] == {"first": 0.5}
