"""A reply speaks of the experiment's findings and classes, or it is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.messages.replies import DescribeReply, EvaluateReply, PersonaliseReply, TrainReply
from fedthorax.common.messages.tasks import EvaluateTask, Task
from fedthorax.common.metrics.operating import OperatingPoints, fixed_operating_points
from fedthorax.common.metrics.score_histogram import ScoreHistogram
from fedthorax.common.metrics.scores import (
    MOST_GROUPS,
    CancerScores,
    ExaminationScores,
    Histograms,
    Personal,
    Subgroups,
    TestedScores,
)
from fedthorax.common.records.records import Attributes
from fedthorax.server.labels_told import check_labels

from ..heads import disease_answers, subgroup_scores
from ..told import CLASSES, FINDINGS, changed, described, evaluated, read, scores, statistics, trained

FACTS: dict[str, Any] = {"site": "north", "round": 1}
TASK = EvaluateTask(**FACTS, splits=("valid", "test"))


@pytest.fixture
def experiment(experiment_file: Callable[..., Path]) -> Experiment:
    return load_experiment(experiment_file(), ["evaluation.histogram_bins=10"])


def subgroups() -> dict[str, Any]:
    """Of 80 patients; lateral images are few, and Mass is rare."""
    rng = np.random.default_rng(1)
    truth = (rng.random((80, 2)) < [0.5, 0.1]).astype(float)
    answers = disease_answers(truth, rng.random((80, 2)), [0.5, 0.5])
    attributes = [Attributes(sex="FM"[row % 2], view="LL" if row < 2 else "PA") for row in range(80)]
    patients = [f"p{row}" for row in range(80)]
    found = subgroup_scores(answers, patients, attributes, FINDINGS, 20, 0, PrivacyConfig(), True)
    told: dict[str, Any] = json.loads(json.dumps({"disease": found, "cancer": None}))
    return told


def women(told: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = told["disease"]["sex"]["groups"]["F"]
    return group


def points(**changes: Any) -> OperatingPoints:
    return changed(fixed_operating_points(FINDINGS, CLASSES, 0.5, "x"), **{"site": "north"} | changes)


def by_patient(cancer: CancerScores) -> TestedScores:
    of_patients = ExaminationScores(rule="mean", mixed=0, reason=None, cancer=cancer, intervals=None)
    return TestedScores(**dict(scores()), examinations=of_patients)


def histograms(bins: int = 10, **changes: Any) -> Histograms:
    one = ScoreHistogram(bins=bins, edges=(0, bins), present=(4,), absent=(4,)).model_dump(mode="json")
    return read(Histograms, **{"disease": dict.fromkeys(FINDINGS, one), "cancer": dict.fromkeys(CLASSES)} | changes)


def personal(**changes: Any) -> Personal:
    nothing: dict[str, Any] = {"kept": None, "reason": None, "valid_loss": {}, "epochs": {}, "own": None}
    return changed(Personal(**nothing, common=scores(), comparison=None), **changes)


def test_what_a_hospital_computes_is_taken_and_so_is_what_it_keeps(experiment: Experiment) -> None:
    for told in (
        evaluated(),
        evaluated(subgroups=read(Subgroups, **subgroups()), operating_points=points(), histograms=histograms()),
        evaluated(test=by_patient(scores().cancer), valid_histograms=histograms(examination=dict.fromkeys(CLASSES))),
        evaluated(subgroups=Subgroups(disease={}, cancer={}), operating_points=points(cancer={})),
        evaluated(subgroups=Subgroups(disease=None, cancer=None), operating_points=points(disease={}, cancer={})),
    ):
        check_labels(EvaluateReply(**FACTS, results=told), TASK, experiment)
    for reply in (
        DescribeReply(**FACTS, results=described()),
        TrainReply(**FACTS, results=trained()),
        PersonaliseReply(**FACTS, results=personal(own=scores())),
    ):
        check_labels(reply, Task(kind=reply.kind, **FACTS), experiment)


OTHER = scores(0.5, ("Mass", "Effusion"))
NO_TUMOUR = scores(0.5, FINDINGS, ("normal",))


def with_matrix(rows: tuple[tuple[int, ...], ...]) -> Any:
    found = scores()
    return changed(found, cancer=changed(found.cancer, confusion_matrix=rows))


def other_women(**changes: Any) -> Subgroups:
    told = subgroups()
    women(told).update(changes)
    return read(Subgroups, **told)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (evaluated(valid=OTHER), "the scores of valid are of Mass, Effusion, expected Effusion, Mass"),
        (evaluated(test=NO_TUMOUR), "the scores of test are of normal, expected normal, tumour"),
        (evaluated(test=None), "the reply lacks the scores of test"),
        (evaluated(valid=with_matrix(((1, 2),))), "the confusion matrix of valid has other classes"),
        (evaluated(valid=with_matrix(((1, 2, 3),) * 3)), "the confusion matrix of valid has other classes"),
        (evaluated(operating_points=points(site="south")), "its own thresholds are of 'south'"),
        (
            evaluated(operating_points=points(disease={"Mass": points().disease["Mass"]})),
            "its own thresholds are of Mass, expected Effusion, Mass",
        ),
        (evaluated(subgroups=other_women(labels={})), "the scores by sex are of nothing, expected Effusion, Mass"),
        (
            evaluated(subgroups=other_women(mean=women(subgroups())["mean"] | {"labels": ["Hernia"]})),
            "the means by sex are of Hernia",
        ),
        (evaluated(histograms=histograms(disease={})), "the histograms of disease are of nothing"),
        (evaluated(histograms=histograms(bins=9)), "expected a histogram of 10 bins"),
        (evaluated(valid_histograms=histograms(bins=9)), "expected a histogram of 10 bins"),
        (evaluated(histograms=histograms(examination={"benign": None})), "the histograms of examination are of benign"),
        (evaluated(test=by_patient(NO_TUMOUR.cancer)), "the examinations of test are of normal, expected normal, tum"),
    ],
)
def test_other_labels_than_the_experiments_are_refused(experiment: Experiment, told: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_labels(EvaluateReply(**FACTS, results=told), TASK, experiment)


def test_so_are_those_of_the_other_tasks(experiment: Experiment) -> None:
    no_findings = changed(statistics(), findings={})
    for reply, words in (
        (DescribeReply(**FACTS, results=described(statistics=no_findings)), "the counts are of nothing"),
        (TrainReply(**FACTS, results=trained(valid=OTHER)), "the scores of valid are of Mass"),
        (PersonaliseReply(**FACTS, results=personal(own=OTHER)), "the scores of the own model are of Mass"),
    ):
        with pytest.raises(ValueError, match=words):
            check_labels(reply, Task(kind=reply.kind, **FACTS), experiment)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda told: told.update(lungs={}), "lungs\\n  Extra inputs"),
        (lambda told: told["disease"].update(religion={}), "religion"),
        (lambda told: women(told)["mean"]["recall"].update(value=1.5), "less than or equal to 1"),
        (lambda told: women(told).update(images="many"), "valid integer"),
        (
            lambda told: told["disease"]["sex"]["groups"].update(
                {f"scanner {number}": {"images": None, "reason": "x"} for number in range(MOST_GROUPS + 1)}
            ),
            f"at most {MOST_GROUPS} items",
        ),
    ],
)
def test_subgroups_of_another_form_do_not_even_become_a_reply(spoil: Callable[[Any], None], words: str) -> None:
    told = subgroups()
    spoil(told)
    with pytest.raises(ValidationError, match=words):
        read(Subgroups, **told)
