"""What the lead may ask of a hospital: a closed list, one model for each kind."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from numpy.typing import NDArray
from pydantic import Field

from fedthorax.common.config.data import CtWindow
from fedthorax.common.config.evaluation import ExaminationRule
from fedthorax.common.config.training import PartName
from fedthorax.common.ground.fields import Digest, Mark, Name, Positive, Round
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.masking.opening import Opening
from fedthorax.common.messages.masking import UnmaskTask
from fedthorax.common.messages.message import Task, all_arrays
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.record.run import Run


class DescribeTask(Task):
    """Report counts, and which of ``test_digests`` (keyed by ``digest_key``) the hospital holds too."""

    most_text: ClassVar[int] = 64 << 20

    kind: Literal["describe"] = "describe"
    test_digests: Annotated[tuple[Digest, ...], Field(max_length=500_000)] = ()
    digest_key: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,32}$")] = "00"


class StatisticsTask(Task):
    """Tell what the hospital's privacy policy allows; ``digest_key`` is the number of this query."""

    kind: Literal["statistics"] = "statistics"
    digest_key: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,32}$")] = "00"


class PresentTask(Task):
    """Answer, no more. A SuperNode takes a message only when it has sent the reply to the one before, so the answer
    says that no other task is on its way or being worked on."""

    kind: Literal["present"] = "present"


class DecisionTask(Task):
    """Tell whether a person has decided on the task ``about`` (its id); the answer may take as long as HELD_S."""

    kind: Literal["decision"] = "decision"
    about: Mark = ""


HELD_S = 60.0  # so that a decision is told at once, and a hospital's log of what left does not fill with questions


class ModelTask(Task):
    """A task that starts from a model. ``held`` segments are not sent, ``packed`` ones travel as differences to what is
    held; with ``packs`` those that travel whole are packed too."""

    layout: Mark = ""  # SegmentLayout.digest of the sender
    model_sha256: Mark = ""  # weights_digest of the whole model
    sha256: Annotated[dict[Name, Digest], Field(max_length=64)] = Field(
        default_factory=dict
    )  # segment_sha256 of every segment of the model
    held: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    packs: bool = False
    best: Annotated[dict[Name, Digest], Field(max_length=64)] = Field(
        default_factory=dict
    )  # of the best model so far, to go on holding
    own_round: Round = 0  # the last round whose update of this hospital counted; what it keeps goes on from there


class TrainTask(ModelTask):
    """Score the incoming weights on the validation split, then train them for the phase."""

    kind: Literal["train"] = "train"
    phase: Annotated[int, Field(ge=0, le=1000)] = 0  # index into training.phases
    learning_rate: Positive = 0.0
    stopped: Annotated[tuple[PartName, ...], Field(max_length=6)] = ()  # of the phase's parts: trained no longer
    masking: Opening | None = None  # under masks: the keys of all whom the round asks


class EvaluateTask(ModelTask):
    """Score the incoming weights on ``splits``, the test split at ``operating_points``; with these, of the validation
    split histograms too, in which the classes are calibrated as they say."""

    kind: Literal["evaluate"] = "evaluate"
    splits: Annotated[tuple[Literal["train", "valid", "test"], ...], Field(max_length=3)] = ()
    operating_points: OperatingPoints | None = None


class PersonaliseTask(ModelTask):
    """Fine-tune the incoming weights for this hospital alone and tell how good that is."""

    kind: Literal["personalise"] = "personalise"


class ModelFacts(Frozen):
    """What the outputs of a run's models mean: model.json less its models."""

    format: int
    name: str
    findings: tuple[str, ...]
    cancer_classes: tuple[str, ...]
    image_size: int
    aspect: Literal["pad", "squash"]
    ct_windows: tuple[CtWindow, ...]
    threshold: float
    absent: Literal["refused", "token"]
    views: int
    examination: ExaminationRule = "mean"
    augmentation: dict[str, float | bool]
    versions: dict[str, str]


class Outcome(Frozen):
    """``models`` are the names under which the incoming weights are kept; ``metrics`` is the run as one hospital may
    see it."""

    models: Annotated[tuple[Literal["best", "last"], ...], Field(min_length=1, max_length=2)]
    facts: ModelFacts
    metrics: Run


class FinishTask(ModelTask):
    """Keep the incoming weights as the models that ``outcome`` names."""

    most_text: ClassVar[int] = 64 << 20

    kind: Literal["finish"] = "finish"
    outcome: Outcome


AnyTask = Annotated[
    DescribeTask
    | TrainTask
    | EvaluateTask
    | PersonaliseTask
    | StatisticsTask
    | FinishTask
    | PresentTask
    | DecisionTask
    | UnmaskTask,
    Field(discriminator="kind"),
]
TASKS: Mapping[str, type[Task]] = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(AnyTask)[0])}


def sent_arrays(task: Task) -> dict[str, NDArray[Any]]:
    """What travels with the task for each segment: nothing for those that the hospital holds, and a packed difference
    where there is one."""
    held = task.held if isinstance(task, ModelTask) else ()
    return {name: values for name, values in all_arrays(task).items() if name not in held}
