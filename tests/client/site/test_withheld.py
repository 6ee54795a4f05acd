"""What a hospital keeps to itself."""

import errno
import json
import os
from typing import Any

import numpy as np
import pytest

from fedthorax.client.site.withheld import what_may_leave
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.allowed import Allowed, NoRuleError
from fedthorax.common.messages.replies import EvaluateReply, PersonaliseReply, TrainReply
from fedthorax.common.messages.results import Evaluated, UpdateTold
from fedthorax.common.metrics.score_histogram import score_histogram
from fedthorax.common.metrics.scores import Personal

from ...heads import bootstrap_cancer, bootstrap_disease, cancer_scores, compare_cancer, compare_disease, disease_scores

FINDINGS, CLASSES = ("Effusion", "Mass"), ("normal", "tumour")
TRUTH = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
GUESS = np.array([[0.9, 0.2], [0.4, 0.1], [0.6, 0.7], [0.1, 0.3]], np.float32)
OF_SLICES = np.array([0, 0, 0, 1])
SAID = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]], np.float32)
SEEN = ("none", "common", "outputs", "valid", "sex", "F", "unknown")


def _scores() -> dict[str, Any]:
    """Effusion: 2 of 4 X-rays, Mass: 1 of 4; normal: 3 of 4 slices, tumour: 1."""
    return {
        "loss": 1.0,
        "disease_loss": 0.5,
        "cancer_loss": 0.5,
        "disease": disease_scores(TRUTH, GUESS, FINDINGS, 0.5),
        "cancer": cancer_scores(OF_SLICES, SAID, CLASSES),
    }


def _fitted() -> dict[str, Any]:
    losses = {"loss": 1.0, "disease_loss": 1.0, "cancer_loss": 1.0}
    return {**losses, "pairs": 4, "steps": 1, "epochs": 1, "seconds": 0.5}


def _allowed(smallest: int = 0, tasks: tuple[str, ...] = ("loss", "disease", "cancer")) -> Allowed:
    policy = PrivacyConfig(smallest_count=max(smallest, 3), round_to=1)
    return Allowed(smallest, policy, frozenset(tasks), frozenset({*FINDINGS, *CLASSES, "north", *SEEN}))


KINDS = {
    "train": (TrainReply, UpdateTold),
    "evaluate": (EvaluateReply, Evaluated),
    "personalise": (PersonaliseReply, Personal),
}


def _reply(results: dict[str, Any] | None, kind: str = "evaluate", **fields: Any) -> Any:
    reply, told = KINDS[kind]
    typed = None if results is None else told.model_validate_json(json.dumps(results))
    return reply(site="north", round=1, results=typed, **fields)


def _left(results: dict[str, Any], allowed: Allowed, kind: str = "evaluate") -> dict[str, Any]:
    behind = {} if kind == "evaluate" else {"labelled_xray": 4, "labelled_ct": 4}
    left = what_may_leave(_reply(behind | results, kind), allowed).results
    left = left.model_copy(update=dict.fromkeys(behind))
    assert left == what_may_leave(_reply(behind | results, kind), allowed).results  # these stay
    left = type(left)(**{name: getattr(left, name) for name in left.model_fields_set - set(behind)})
    return json.loads(left.model_dump_json(exclude_unset=True))  # type: ignore[no-any-return]


def test_by_default_every_score_leaves_as_it_is() -> None:
    results = {"valid": _scores(), "train": _fitted(), "peak_memory_mb": 9.5}
    assert _left(results, _allowed(), "train") == results


def test_a_score_over_few_images_is_null_with_its_reason_and_cannot_be_worked_out_from_the_means() -> None:
    left = _left({"valid": _scores()}, _allowed(2))["valid"]
    mass, effusion = left["disease"]["per_finding"]["Mass"], left["disease"]["per_finding"]["Effusion"]
    assert mass["roc_auc"] is None
    assert mass["reasons"]["roc_auc"] == "Fewer than 2 images: the hospital keeps it."
    assert (mass["support"], mass["known"]) == (None, 4)
    assert effusion["roc_auc"] == 0.75
    assert left["disease"]["macro"]["roc_auc"] == 0.75
    assert left["disease"]["macro"]["num_findings"]["roc_auc"] == 1
    assert left["disease"]["micro"]["f1"] is None
    assert left["cancer"]["per_class"]["tumour"]["recall"] is None
    assert left["cancer"]["confusion_matrix"] is None
    assert left["cancer"]["accuracy"] is None
    assert left["cancer"]["reasons"]["accuracy"] == "Fewer than 2 images: the hospital keeps it."
    json.dumps(left, allow_nan=False)


def test_few_images_without_a_finding_are_as_few_as_those_with_it() -> None:
    """Of 4 slices 3 are normal: the other one would follow from the count of the normal ones."""
    normal = _left({"valid": _scores()}, _allowed(2))["valid"]["cancer"]["per_class"]["normal"]
    assert (normal["support"], normal["roc_auc"]) == (None, None)


def test_an_interval_leaves_only_beside_its_figure() -> None:
    patients = ["a", "b", "c", "d"]
    intervals = {
        "disease": bootstrap_disease(TRUTH, GUESS, patients, FINDINGS, 0.5, 9, 0),
        "cancer": bootstrap_cancer(OF_SLICES, SAID, patients, CLASSES, 9, 0),
    }
    scores = json.loads(json.dumps({**_scores(), "intervals": intervals}))
    assert _left({"test": scores}, _allowed())["test"]["intervals"] == scores["intervals"]
    left = _left({"test": scores}, _allowed(2))["test"]["intervals"]
    assert left["disease"]["per_finding"] == {
        "Effusion": scores["intervals"]["disease"]["per_finding"]["Effusion"],
        "Mass": None,
    }
    assert left["disease"]["macro"] is left["disease"]["micro"] is left["cancer"]["accuracy"] is None
    assert left["disease"]["samples"] == 9


def test_thresholds_leave_with_the_scores_that_they_are_for_and_without_their_counts() -> None:
    label = {"threshold": 0.3, "method": "youden", "slope": 1.0, "intercept": 0.0, "reasons": []}
    counted = label | {"positives": 11, "negatives": 12, "sensitivity": 0.9, "specificity": 0.8}
    points = {"site": "north", "split": "valid", "cancer_temperature": 1.0, "reasons": []}
    told = points | {"disease": {"Mass": counted}, "cancer": {"normal": counted}}
    left = _left({"operating_points": told}, _allowed(tasks=("disease",)))["operating_points"]
    kept = label | dict.fromkeys(("positives", "negatives", "sensitivity", "specificity"))
    assert left == {**points, "disease": {"Mass": kept}, "cancer": {}}
    assert _left({"operating_points": None}, _allowed()) == {"operating_points": None}


def test_histograms_leave_beside_scores_and_those_of_few_images_stay() -> None:
    many = score_histogram(np.arange(20) % 2 == 0, np.linspace(0, 1, 20), 4).model_dump(mode="json")
    few = score_histogram(np.arange(20) == 0, np.linspace(0, 1, 20), 4).model_dump(mode="json")
    told = {"disease": {"Effusion": many, "Mass": few}, "cancer": {"normal": many, "tumour": None}}
    assert _left({"histograms": told}, _allowed())["histograms"] == told
    left = _left({"histograms": told}, _allowed(2, tasks=("disease",)))["histograms"]
    assert left["disease"]["Effusion"] is not None
    assert left["disease"]["Mass"] is left["cancer"]["normal"] is None


def _group(support: int | None, known: int, images: int) -> dict[str, Any]:
    figure = {"value": 0.8, "interval": [0.7, 0.9], "others": 0.9, "gap": -0.1, "gap_interval": [-0.2, 0.0]}
    figures = dict.fromkeys(("roc_auc", "recall", "specificity"), figure)
    row = {**figures, "support": support, "known": known, "descriptive": False, "reason": None}
    return {
        "images": images,
        "reason": None,
        "mean": {**figures, "labels": ["Mass"], "reason": None},
        "labels": {"Mass": row},
    }


def test_scores_by_subgroup_leave_with_the_scores_of_their_task_and_of_groups_of_enough_people() -> None:
    told = {"disease": {"sex": {"unknown": 0, "groups": {"F": _group(12, 40, 40)}}}, "cancer": {}}
    assert _left({"subgroups": told}, _allowed(5))["subgroups"] == told
    left = _left({"subgroups": told}, _allowed(tasks=("loss", "cancer")))["subgroups"]
    assert left == {"disease": None, "cancer": {}}
    assert _left({"subgroups": None}, _allowed()) == {"subgroups": None}
    few = {"disease": {"sex": {"unknown": 0, "groups": {"F": _group(2, 40, 40)}}}, "cancer": {}}
    row = _left({"subgroups": few}, _allowed(5))["subgroups"]["disease"]["sex"]["groups"]["F"]["labels"]["Mass"]
    assert (row["support"], row["roc_auc"]) == (None, None)
    assert row["reason"] == "Fewer than 5 images: the hospital keeps it."


def test_a_group_of_scores_that_is_not_allowed_is_null_throughout() -> None:
    left = _left({"valid": _scores(), "train": _fitted()}, _allowed(tasks=("cancer",)), "train")
    assert (left["valid"]["loss"], left["train"]["loss"], left["train"]["pairs"]) == (None, None, 4)
    rows = left["valid"]["disease"]["per_finding"]
    assert all(row["f1"] is None for row in rows.values())
    assert rows["Mass"]["reasons"]["f1"] == "The hospital does not give this score away."
    assert left["valid"]["disease"]["macro"]["f1"] is None
    assert left["valid"]["cancer"] == json.loads(json.dumps(_scores()["cancer"]))


def test_a_part_behind_which_there_are_few_images_weighs_nothing() -> None:
    counts = {"xray": 9, "ct": 3, "fusion": 9, "xray_token": 0, "ct_token": 6, "findings": [9, 2], "cancer": 3}
    told = {"valid": _scores(), "train": _fitted(), "counts": counts}
    left = _left(told, _allowed(5), "train")["counts"]
    assert left == {**counts, "ct": 0, "findings": [9, 0], "cancer": 0}


def test_an_unknown_key_takes_the_whole_reply_back() -> None:
    reply = _reply({"valid": _scores()})
    for planted in ({"rows": [{"patient": "Smith"}]}, {"auc_of_3": 0.9}):
        odd = reply.model_copy(update={"results": reply.results.model_copy(update=planted)})
        with pytest.raises(NoRuleError, match="has no rule of what may leave") as error:
            what_may_leave(odd, _allowed(10))
        assert "Smith" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [
        "1 files cannot be used: /img/xray/Smith_John.png is cut off",
        "[Errno 28] No space left on device: '/var/cache/Smith John.npy'",
        "Smith John is no number",
        "the hospital has not approved the run of Smith John",
        "the hospital allows at most 3 patients (limits.max_rounds), but 4 was asked",
        "its images cannot be used: the check finds smith-john; `fedthorax site check` there says which",
        "the hospital's own disk takes no file: /mnt/Smith",
        "",
    ],
)
def test_an_error_leaves_as_one_sentence_that_says_nothing(error: str) -> None:
    left = what_may_leave(_reply(None, "train", error=error, weights={"disease": np.ones(2, np.float32)}), None)
    assert left.error == "an error inside the hospital; its own log says which"
    assert left.weights == {}


def test_an_error_that_is_a_sentence_of_the_list_leaves_as_it_is() -> None:
    for error in (
        "the hospital allows at most 0.1 learning rate (limits.max_learning_rate), but 1e-06 was asked",
        "its images cannot be used: the check finds file-truncated, unknown-class; `fedthorax site check` there says "
        "which",
        "the hospital has not approved the run within 30 s",
        f"the hospital's own disk takes no file: {os.strerror(errno.ENOSPC)}",
    ):
        reply = _reply(None, "train", error=error)
        assert what_may_leave(reply, None) == reply


def test_what_lacks_is_named_by_the_segments_of_the_model() -> None:
    reply = _reply(None, "train", lacking=("disease",))
    assert what_may_leave(reply, None) == reply
    with pytest.raises(NoRuleError, match=r"^1 segments that are lacking are none of the model's$"):
        what_may_leave(_reply(None, "train", lacking=("Smith John",)), None)


def test_only_training_answers_with_weights() -> None:
    with pytest.raises(NoRuleError, match="the answer to evaluate holds arrays"):
        what_may_leave(_reply({"valid": _scores()}, weights={"disease": np.ones(2, np.float32)}), _allowed())


def _personal() -> dict[str, Any]:
    """Of 40 X-rays 12 show Effusion and 3 Mass; of 40 slices 12 a tumour."""
    generator = np.random.default_rng(0)
    truth = np.stack([np.arange(40) < 12, np.arange(40) < 3], axis=1).astype(np.float32)
    first, second = generator.random((2, 40, 2))
    patients = [str(number) for number in range(40)]
    classes = (np.arange(40) < 12).astype(int)
    comparison = {
        "disease": compare_disease(truth, first, second, patients, FINDINGS, 9, 0),
        "cancer": compare_cancer(
            classes, first / first.sum(axis=1)[:, None], second / second.sum(axis=1)[:, None], patients, CLASSES, 9, 0
        ),
    }
    told = {"kept": "outputs", "reason": None, "valid_loss": {"common": 1.0, "outputs": 0.9}, "epochs": {"outputs": 2}}
    return json.loads(json.dumps({**told, "common": _scores(), "own": None, "comparison": comparison}))  # type: ignore[no-any-return]


def test_of_a_hospitals_own_model_the_same_scores_stay_as_of_the_common_one() -> None:
    told = _personal()
    assert _left(told, _allowed(), "personalise") == told
    left = _left(told, _allowed(5), "personalise")
    effusion, mass = left["comparison"]["disease"]["rows"]
    assert effusion == told["comparison"]["disease"]["rows"][0]
    assert (mass["first"], mass["support"], mass["p_value"]) == (None, None, None)
    assert mass["reason"] == "Fewer than 5 images: the hospital keeps it."
    assert left["comparison"]["disease"]["mean"]["names"] == ["Effusion"]
    assert left["common"]["disease"]["per_finding"]["Mass"]["roc_auc"] is None
    left = _left(told, _allowed(15), "personalise")
    assert left["comparison"]["disease"]["mean"] is left["comparison"]["cancer"]["accuracy"] is None


def test_groups_of_scores_that_stay_stay_of_the_own_model_too() -> None:
    left = _left(_personal(), _allowed(tasks=("cancer",)), "personalise")
    assert left["valid_loss"] == {"common": None, "outputs": None}
    assert left["comparison"]["disease"] is None
    assert left["comparison"]["cancer"]["accuracy"] is not None
