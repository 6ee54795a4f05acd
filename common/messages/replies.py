"""What a hospital may answer: a closed list, one model for each kind of task."""

from collections.abc import Mapping
from typing import ClassVar, Generic, Literal, TypeVar, get_args

from pydantic import model_validator

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.leaving import require_rules
from fedthorax.common.messages.masking import Unmasked
from fedthorax.common.messages.message import Reply
from fedthorax.common.messages.results import Decided, Described, Evaluated, Told, UpdateTold
from fedthorax.common.metrics.scores import Personal

Results = TypeVar("Results")


class Answer(Reply, Generic[Results]):
    """``results``, or the reason why there are none."""

    results: Results | None = None

    @model_validator(mode="after")
    def _one_of_four(self) -> "Answer[Results]":
        said = {"results": self.results is not None, "error": self.error is not None}
        said |= {"lacking": bool(self.lacking), "undecided": self.undecided}
        if sum(said.values()) != 1:
            told = [name for name, is_there in said.items() if is_there]
            raise ValueError(f"expected one of {', '.join(said)}, got {' and '.join(told) or 'none'}")
        return self

    @property
    def told(self) -> Results:
        """The results of a reply that has some; ask Reply.error and Reply.lacking first."""
        if self.results is None:
            raise RuntimeError(f"{self.site} has told nothing: {self.error}")
        return self.results


class DescribeReply(Answer[Described]):
    most_text: ClassVar[int] = 256 << 20  # of a hospital with a million images: four keyed hashes for each

    kind: Literal["describe"] = "describe"


class TrainReply(Answer[UpdateTold]):
    """The only one that carries weights."""

    kind: Literal["train"] = "train"

    @property
    def num_pairs(self) -> int:
        """What weighs the update; 0 where it is masked."""
        return self.told.train.pairs if self.told.train else 0


class EvaluateReply(Answer[Evaluated]):
    kind: Literal["evaluate"] = "evaluate"


class PersonaliseReply(Answer[Personal]):
    kind: Literal["personalise"] = "personalise"


class StatisticsReply(Answer[Told]):
    most_text: ClassVar[int] = DescribeReply.most_text

    kind: Literal["statistics"] = "statistics"


class UnmaskReply(Answer[Unmasked]):
    kind: Literal["unmask"] = "unmask"


class FinishReply(Reply):
    """Says that what came is kept."""

    kind: Literal["finish"] = "finish"


class PresentReply(Reply):
    kind: Literal["present"] = "present"


class DecisionReply(Answer[Decided]):
    kind: Literal["decision"] = "decision"


REPLIES: Mapping[str, type[Reply]] = {
    kind.model_fields["kind"].default: kind
    for kind in (
        *(DescribeReply, TrainReply, EvaluateReply, PersonaliseReply, StatisticsReply, FinishReply),
        *(PresentReply, DecisionReply, UnmaskReply),
    )
}
RESULTS: Mapping[str, type[Frozen]] = {
    kind: get_args(reply.model_fields["results"].annotation)[0]
    for kind, reply in REPLIES.items()
    if "results" in reply.model_fields
}
"""What a hospital tells in answer to each kind of task."""
for _results in RESULTS.values():
    require_rules(_results)  # a field without a rule of what may leave a hospital is no part of a reply
