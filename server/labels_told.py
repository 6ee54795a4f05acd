"""Whether a hospital's reply speaks of what the experiment asks: its findings and classes in their order, its splits,
its bins. The form of the reply has been looked at when it was read (common/messages); this is the other half.
"""

from collections.abc import Iterable, Iterator, Sequence

from fedthorax.common.config import Experiment
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.messages.message import Reply, Task
from fedthorax.common.messages.replies import DescribeReply, EvaluateReply, PersonaliseReply, TrainReply
from fedthorax.common.messages.results import Evaluated
from fedthorax.common.messages.statistics import UNKNOWN
from fedthorax.common.messages.tasks import EvaluateTask
from fedthorax.common.metrics.scores import BothHeads, Personal, Scores, Subgroups, TestedScores

Labels = tuple[str, Iterable[str], Sequence[str]]  # of what, those that came, those that were asked for
AnyScores = Scores | TestedScores | BothHeads


def check_labels(reply: Reply, task: Task, experiment: Experiment) -> None:
    """ValueError where a reply that has results tells of other labels, splits or bins than it was asked for."""
    for what, came, asked in _labels(reply, experiment.labels):
        if tuple(came) != tuple(asked):
            raise ValueError(f"{what} are of {', '.join(came)[:200] or 'nothing'}, expected {', '.join(asked)}")
    if isinstance(reply, EvaluateReply) and isinstance(task, EvaluateTask):
        _check_tests(reply, task, experiment)


def _labels(reply: Reply, labels: LabelsConfig) -> Iterator[Labels]:
    if isinstance(reply, DescribeReply):
        told = reply.told.statistics
        yield "the counts", told.findings, labels.findings
        yield "the counts", told.cancer_classes.cells, (*labels.cancer_classes, UNKNOWN)
    elif isinstance(reply, TrainReply):
        yield from _of_scores("valid", reply.told.valid, labels)
    elif isinstance(reply, PersonaliseReply):
        yield from _of_personal(reply.told, labels)
    elif isinstance(reply, EvaluateReply):
        yield from _of_tests(reply.told, labels)


def _of_tests(told: Evaluated, labels: LabelsConfig) -> Iterator[Labels]:
    for name in ("train", "valid", "test", "test_with_duplicates", "test_at_own_thresholds"):
        yield from _of_scores(name, getattr(told, name), labels)
    classes = labels.cancer_classes
    for task, wanted in (("disease", labels.findings), ("cancer", classes), ("examination", classes)):
        if told.operating_points is not None and (mine := getattr(told.operating_points, task)):
            yield "its own thresholds", mine, wanted  # a hospital may keep those of a task
        if told.subgroups is not None and task != "examination":
            yield from _of_groups(task, told.subgroups, wanted)
        for histograms in (told.histograms, told.valid_histograms):
            if histograms is not None and (task != "examination" or histograms.examination):
                yield f"the histograms of {task}", getattr(histograms, task), wanted


def _of_scores(name: str, scores: AnyScores | None, labels: LabelsConfig) -> Iterator[Labels]:
    if scores is None:
        return
    yield f"the scores of {name}", scores.disease.per_finding, labels.findings
    yield f"the scores of {name}", scores.cancer.per_class, labels.cancer_classes
    matrix = scores.cancer.confusion_matrix
    if matrix is not None and {len(matrix), *map(len, matrix)} != {len(labels.cancer_classes)}:
        raise ValueError(f"the confusion matrix of {name} has other classes than the experiment")
    if isinstance(scores, TestedScores) and scores.examinations and (cancer := scores.examinations.cancer):
        yield f"the examinations of {name}", cancer.per_class, labels.cancer_classes
    if isinstance(scores, TestedScores) and scores.intervals is not None:
        yield f"the intervals of {name}", scores.intervals.disease.per_finding, labels.findings
        yield f"the intervals of {name}", scores.intervals.cancer.per_class, labels.cancer_classes


def _of_groups(task: str, subgroups: Subgroups, wanted: Sequence[str]) -> Iterator[Labels]:
    for attribute, found in (getattr(subgroups, task) or {}).items():
        for group in found.groups.values():
            if group.reason is None:
                yield f"the scores by {attribute}", group.labels or (), wanted
                compared = group.mean.labels if group.mean else ("nothing",)
                yield f"the means by {attribute}", compared, [name for name in compared if name in wanted]


def _of_personal(told: Personal, labels: LabelsConfig) -> Iterator[Labels]:
    yield from _of_scores("the common model", told.common, labels)
    yield from _of_scores("the own model", told.own, labels)
    if told.comparison is not None:
        for compared, wanted in (
            (told.comparison.disease, labels.findings),
            (told.comparison.cancer, labels.cancer_classes),
        ):
            if compared is not None:
                yield "the comparison", [row.name for row in compared.rows], wanted


def _check_tests(reply: EvaluateReply, task: EvaluateTask, experiment: Experiment) -> None:
    told = reply.told
    if missing := [split for split in task.splits if getattr(told, split) is None]:
        raise ValueError(f"the reply lacks the scores of {', '.join(missing)}")
    if told.operating_points is not None and told.operating_points.site != reply.site:
        raise ValueError(f"its own thresholds are of {told.operating_points.site!r}")
    bins = experiment.evaluation.histogram_bins
    for histograms in filter(None, (told.histograms, told.valid_histograms)):
        parts = (histograms.disease, histograms.cancer, histograms.examination)
        for found in (one for part in parts for one in part.values()):
            if found is not None and found.bins != bins:
                raise ValueError(f"expected a histogram of {bins} bins, got one of {found.bins}")
