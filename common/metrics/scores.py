"""What was measured of a model on one side's images, as models: the form in which scores travel and are written down.

``head_scores`` and its neighbours give these shapes; reasons say why a figure is null. A rule
of what may leave a hospital stands beside every field.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from fedthorax.common.config.evaluation import ExaminationRule
from fedthorax.common.config.personalisation import FineTuned
from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import one_line
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS, Figures, FindingFigures, Score, Share
from fedthorax.common.metrics.score_histogram import Number, ScoreHistogram

Task = Literal["disease", "cancer"]
TASKS: tuple[tuple[Task, str], ...] = (("disease", "X-ray findings"), ("cancer", "CT classes"))
MOST_LABELS = 1000
MOST_GROUPS = 100  # of an attribute: scanners have names, and a list without end would swell every report

Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line), leaving.Name()]
Reason = Annotated[str, Field(max_length=500), AfterValidator(one_line), leaving.Words()]
Reasons = Annotated[dict[Label, Reason], Field(max_length=100)]
MeanLoss = Annotated[float | None, Field(ge=0)]
Interval = Annotated[tuple[float, float], Field(strict=False), leaving.Figure()]
Figured = Annotated[Score, leaving.Figure()]
Runs = Annotated[dict[Label, Number], Field(max_length=100), leaving.Machine("labels that a mean runs over")]
Descriptive = Annotated[bool, leaving.Code()]


class FindingRow(FindingFigures):
    """``support`` counts images that show the finding, ``known`` known labels; ``descriptive``: fewer than ten
    positives or negatives."""

    support: Annotated[Number | None, leaving.Count(part_of="known")]
    known: Annotated[Number | None, leaving.Count()]
    descriptive: Descriptive
    reasons: Reasons


class ClassRow(Figures):
    """``support`` counts slices of the class."""

    support: Annotated[Number | None, leaving.Count(part_of="known")]
    descriptive: Descriptive
    reasons: Reasons


Row = FindingRow | ClassRow


class FindingMean(FindingFigures):
    """``num_findings``: figure by figure, over how many findings it runs."""

    num_findings: Runs
    reasons: Reasons

    @property
    def over(self) -> dict[str, int]:
        return self.num_findings


class ClassMean(Figures):
    num_classes: Runs
    reasons: Reasons

    @property
    def over(self) -> dict[str, int]:
        return self.num_classes


class DiseaseScores(Frozen):
    per_finding: Annotated[dict[Label, FindingRow], Field(max_length=MOST_LABELS)]
    macro: Annotated[FindingMean, leaving.MeanOf("per_finding")]
    weighted: Annotated[FindingMean, leaving.MeanOf("per_finding", weighted=True)]
    micro: Annotated[FindingMean, leaving.Together("per_finding")]

    @property
    def rows(self) -> dict[str, FindingRow]:
        return self.per_finding

    def known_of(self, label: str) -> int | None:
        """Images of which it is known whether they show the finding."""
        return self.per_finding[label].known


class CancerScores(Frozen):
    """``confusion_matrix[i][j]`` counts slices of class i that were taken for class j."""

    accuracy: Annotated[Score, leaving.Together("per_class")]
    macro: Annotated[ClassMean, leaving.MeanOf("per_class")]
    weighted: Annotated[ClassMean, leaving.MeanOf("per_class", weighted=True)]
    micro: Annotated[ClassMean, leaving.Together("per_class")]
    per_class: Annotated[dict[Label, ClassRow], Field(max_length=MOST_LABELS)]
    confusion_matrix: Annotated[
        Annotated[tuple[Annotated[tuple[Number, ...], Field(strict=False)], ...], Field(strict=False)] | None,
        leaving.Together("per_class"),
    ]
    known: Annotated[Number | None, leaving.Count()]
    reasons: Reasons

    @property
    def rows(self) -> dict[str, ClassRow]:
        return self.per_class

    def known_of(self, label: str) -> int | None:
        return self.known


Head = DiseaseScores | CancerScores


class Heads(Frozen):
    disease: Annotated[DiseaseScores, leaving.OfTask("disease")]
    cancer: Annotated[CancerScores, leaving.OfTask("cancer")]

    def head(self, task: Task) -> Head:
        return self.disease if task == "disease" else self.cancer

    def mean(self, task: Task, figure: str) -> float | None:
        """The mean of a figure over the labels; the accuracy of the classes is that of the slices."""
        if (task, figure) == ("cancer", "accuracy"):
            return self.cancer.accuracy
        value: float | None = getattr(self.head(task).macro, figure)
        return value

    def interval(self, task: Task, figure: str, label: str | None = None) -> tuple[float, float] | None:
        """Of a label's figure, or of ``mean``; none without a test."""
        return None


class Scores(Heads):
    """Losses are null where no label was known."""

    loss: Annotated[MeanLoss, leaving.Loss(("disease", "cancer"))]
    disease_loss: Annotated[MeanLoss, leaving.Loss(("disease",))]
    cancer_loss: Annotated[MeanLoss, leaving.Loss(("cancer",))]


class FigureIntervals(Frozen):
    """By figure ``[low, high]`` or null; ``defined`` counts the resamples in which it exists."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Interval | None] = Field(init=False)

    defined: Runs

    @model_validator(mode="after")
    def _only_figures(self) -> "FigureIntervals":
        odd = {*(self.__pydantic_extra__ or ()), *self.defined} - {*FINDING_METRICS, *CLASS_METRICS}
        if odd:
            raise ValueError(f"intervals of {', '.join(sorted(odd))[:200]}, which are no figures")
        return self

    def of(self, figure: str) -> tuple[float, float] | None:
        found: dict[str, Any] = self.__pydantic_extra__ or {}
        return found.get(figure)


Machine = Annotated[Number, leaving.Machine("how often patients were drawn again")]


class _Intervals(Frozen):
    """``samples`` resamples of so many ``patients``; ``level`` is the share that an interval holds."""

    samples: Machine
    level: Annotated[Share, leaving.Machine("share of resamples that an interval holds")]
    patients: Annotated[Number | None, leaving.Count(of="patients")]
    macro: FigureIntervals | None
    weighted: FigureIntervals | None
    micro: FigureIntervals | None

    @property
    def rows(self) -> dict[str, FigureIntervals | None]:
        """By label. Only the two heads below are made; each knows the name under which its labels stand."""
        raise NotImplementedError

    def of(self, figure: str, label: str | None = None) -> tuple[float, float] | None:
        """Of a label's figure, or of its mean over the labels."""
        found = self.macro if label is None else self.rows.get(label)
        return found.of(figure) if found else None


class DiseaseIntervals(_Intervals):
    per_finding: Annotated[dict[Label, FigureIntervals | None], Field(max_length=MOST_LABELS)]

    @property
    def rows(self) -> dict[str, FigureIntervals | None]:
        return self.per_finding


class CancerIntervals(_Intervals):
    accuracy: Interval | None
    defined: Runs
    per_class: Annotated[dict[Label, FigureIntervals | None], Field(max_length=MOST_LABELS)]

    @property
    def rows(self) -> dict[str, FigureIntervals | None]:
        return self.per_class

    def of(self, figure: str, label: str | None = None) -> tuple[float, float] | None:
        return self.accuracy if (figure, label) == ("accuracy", None) else super().of(figure, label)


class ScoreIntervals(Frozen):
    disease: Annotated[DiseaseIntervals, leaving.OfTask("disease")]
    cancer: Annotated[CancerIntervals, leaving.OfTask("cancer")]


class ExaminationIntervals(Frozen):
    cancer: CancerIntervals | None


class ExaminationScores(Frozen):
    """Patients in place of slices, by a ``rule``; ``mixed`` have slices of several classes and are left out. ``cancer``
    is null where no patient is known to have several slices."""

    rule: Annotated[ExaminationRule, leaving.Code()]
    mixed: Annotated[Number | None, leaving.Shown(of="patients", alone=True)]
    reason: Reason | None
    cancer: Annotated[CancerScores | None, leaving.OfTask("cancer")]
    intervals: Annotated[ExaminationIntervals | None, leaving.Beside(("cancer",))]


class TestedScores(Scores):
    """At thresholds, of calibrated probabilities, with 95 % intervals by patient or null."""

    __test__ = False

    examinations: ExaminationScores | None = None

    intervals: Annotated[ScoreIntervals | None, leaving.Beside(("disease", "cancer"))] = None

    def interval(self, task: Task, figure: str, label: str | None = None) -> tuple[float, float] | None:
        found = self.intervals and (self.intervals.disease if task == "disease" else self.intervals.cancer)
        return found.of(figure, label) if found else None


class BothHeads(Heads):
    """Scores without losses: of a test with the images that were left out of it."""


class GroupFigure(Frozen):
    """A figure of a group beside that of the ``others``; ``gap`` is the difference."""

    value: Score
    interval: Interval | None
    others: Score
    gap: Annotated[float | None, Field(ge=-1, le=1)]
    gap_interval: Interval | None


class GroupLabel(Frozen):
    support: Annotated[Number | None, leaving.Shown(part_of="known")]
    known: Annotated[Number | None, leaving.Shown()]
    descriptive: Descriptive
    reason: Reason | None
    roc_auc: Annotated[GroupFigure | None, leaving.Figure()] = None
    recall: Annotated[GroupFigure | None, leaving.Figure()] = None
    specificity: Annotated[GroupFigure | None, leaving.Figure()] = None


class GroupMean(Frozen):
    labels: Annotated[tuple[Label, ...], Field(strict=False)]
    reason: Reason | None
    roc_auc: Annotated[GroupFigure | None, leaving.Figure()] = None
    recall: Annotated[GroupFigure | None, leaving.Figure()] = None
    specificity: Annotated[GroupFigure | None, leaving.Figure()] = None


class Group(Frozen):
    """A hidden group has its ``reason`` and nothing else."""

    images: Annotated[Number | None, leaving.Shown()]
    reason: Reason | None
    mean: GroupMean | None = None
    labels: Annotated[dict[Label, GroupLabel], Field(max_length=MOST_LABELS)] | None = None


GroupName = Annotated[str, Field(max_length=200), AfterValidator(one_line), leaving.SharedName()]


class Attribute(Frozen):
    unknown: Annotated[Number | None, leaving.Shown(alone=True)]
    groups: Annotated[dict[GroupName, Group], Field(max_length=MOST_GROUPS)]


AttributeName = Literal["sex", "age_years", "view", "scanner"]
OfAttributes = dict[Annotated[AttributeName, leaving.Code()], Attribute]


class Subgroups(Frozen):
    """By attribute; null where the hospital keeps the task to itself."""

    disease: Annotated[OfAttributes | None, leaving.OfTask("disease")]
    cancer: Annotated[OfAttributes | None, leaving.OfTask("cancer")]


OfLabels = Annotated[dict[Label, Annotated[ScoreHistogram | None, leaving.Bins()]], Field(max_length=MOST_LABELS)]


class Histograms(Frozen):
    """``examination``: of patients, by class; nothing where none is known to have several slices."""

    disease: Annotated[OfLabels, leaving.OfTask("disease")]
    cancer: Annotated[OfLabels, leaving.OfTask("cancer")]
    examination: Annotated[OfLabels, leaving.OfTask("cancer", whole=True)] = Field(default_factory=dict)


class Difference(Frozen):
    value: Annotated[float | None, leaving.Figure()]
    interval: Interval | None
    defined: Machine


class PairedMean(Frozen):
    """``paired_difference`` of a mean, over ``names``."""

    names: Annotated[tuple[Label, ...], Field(strict=False)] = ()
    samples: Machine
    patients: Annotated[Number | None, leaving.Count(of="patients")]
    first: Figured
    second: Figured
    difference: Difference
    ratio: Difference


class ComparedRow(Frozen):
    name: Label
    support: Annotated[Number | None, leaving.Count(part_of="known")]
    known: Annotated[Number | None, leaving.Count()]
    descriptive: Descriptive
    first: Figured
    second: Figured
    difference: Annotated[float | None, Field(ge=-1, le=1), leaving.Figure()]
    interval: Interval | None
    p_value: Figured
    p_holm: Figured
    reason: Reason | None


class Compared(Frozen):
    """Two models on the same images; ``mean`` is null where no label has ten positives and negatives."""

    rows: Annotated[tuple[ComparedRow, ...], Field(strict=False, max_length=MOST_LABELS)]
    mean: Annotated[PairedMean | None, leaving.Together("rows", names="names")]
    accuracy: Annotated[PairedMean | None, leaving.Together("rows")] = None


class ComparedHeads(Frozen):
    disease: Annotated[Compared | None, leaving.OfTask("disease")]
    cancer: Annotated[Compared | None, leaving.OfTask("cancer")]


class Personal(Frozen):
    """What a hospital's own model is worth there; ``kept`` is null where the common model stays. ``labelled_xray`` and
    ``labelled_ct`` are the validation images with a known label; they stay there."""

    kept: Annotated[FineTuned | None, leaving.Code()]
    reason: Reason | None
    valid_loss: Annotated[dict[Label, MeanLoss], Field(max_length=10), leaving.Loss(("labelled_xray", "labelled_ct"))]
    epochs: Annotated[dict[Label, Annotated[Number, leaving.Machine("passes of training")]], Field(max_length=10)]
    common: Scores | None
    own: Scores | None
    comparison: ComparedHeads | None
    labelled_xray: Annotated[Number | None, leaving.Behind(alone=True)] = None
    labelled_ct: Annotated[Number | None, leaving.Behind(alone=True)] = None
