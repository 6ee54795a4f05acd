"""Both heads by name, from bare arrays: what tests count by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fedthorax.common.metrics.answers import Answers, class_answers, finding_answers
from fedthorax.common.metrics.comparison import compare
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.intervals import Resamples, bootstrap, resampled
from fedthorax.common.metrics.reliability import calibration, curves
from fedthorax.common.metrics.subgroups import subgroup_scores as scores_by_group

Names = Sequence[str]


def disease_scores(truth: Any, probability: Any, findings: Names, threshold: Any) -> dict[str, Any]:
    return head_scores(finding_answers(truth, probability, findings, threshold))


def cancer_scores(truth: Any, probability: Any, classes: Names) -> dict[str, Any]:
    return head_scores(class_answers(truth, probability, classes))


def disease_resamples(
    truth: Any, probability: Any, patients: Names, findings: Names, threshold: Any, *rest: int, **seed: int
) -> Resamples:
    return resampled(finding_answers(truth, probability, findings, threshold, patients), *rest, **seed)


def cancer_resamples(
    truth: Any, probability: Any, patients: Names, classes: Names, *rest: int, **seed: int
) -> Resamples:
    return resampled(class_answers(truth, probability, classes, patients), *rest, **seed)


def bootstrap_disease(
    truth: Any, probability: Any, patients: Names, findings: Names, threshold: Any, *rest: int, **seed: int
) -> dict[str, Any]:
    return bootstrap(finding_answers(truth, probability, findings, threshold, patients), *rest, **seed)


def bootstrap_cancer(
    truth: Any, probability: Any, patients: Names, classes: Names, *rest: int, **seed: int
) -> dict[str, Any]:
    return bootstrap(class_answers(truth, probability, classes, patients), *rest, **seed)


def disease_calibration(
    truth: Any, probability: Any, patients: Names, findings: Names, *rest: int, **more: int
) -> dict[str, Any]:
    return calibration(finding_answers(truth, probability, findings, 0.5, patients), *rest, **more)


def cancer_calibration(
    truth: Any, probability: Any, patients: Names, classes: Names, *rest: int, **more: int
) -> dict[str, Any]:
    return calibration(class_answers(truth, probability, classes, patients), *rest, **more)


def disease_curves(truth: Any, probability: Any, findings: Names) -> dict[str, Any]:
    return curves(finding_answers(truth, probability, findings))


def cancer_curves(truth: Any, probability: Any, classes: Names) -> dict[str, Any]:
    return curves(class_answers(truth, probability, classes))


def compare_disease(
    truth: Any, first: Any, second: Any, patients: Names, findings: Names, *rest: int, **seed: int
) -> dict[str, Any]:
    one, other = (finding_answers(truth, said, findings, 0.5, patients) for said in (first, second))
    return compare(one, other, *rest, **seed)


def compare_cancer(
    truth: Any, first: Any, second: Any, patients: Names, classes: Names, *rest: int, **seed: int
) -> dict[str, Any]:
    one, other = (class_answers(truth, said, classes, patients) for said in (first, second))
    return compare(one, other, *rest, **seed)


def disease_answers(truth: Any, probability: Any, thresholds: Sequence[float]) -> Answers:
    return finding_answers(truth, probability, [str(place) for place in range(len(thresholds))], thresholds)


def cancer_answers(truth: Any, probability: Any) -> Answers:
    return class_answers(truth, probability, [str(place) for place in range(probability.shape[1])])


def subgroup_scores(answers: Answers, patients: Names, attributes: Any, labels: Names, *rest: Any) -> dict[str, Any]:
    return scores_by_group(replace(answers, names=tuple(labels), patients=tuple(patients)), attributes, *rest)
