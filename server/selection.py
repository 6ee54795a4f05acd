"""The best round by a central validation figure, and when to give up waiting for a better one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedthorax.common.config.evaluation import SelectionMetric, SelectionWeights
from fedthorax.common.config.training import PartName, PhaseConfig
from fedthorax.common.metrics.resampling import certain_mean


def selection_value(
    scores: Mapping[str, Any], metric: SelectionMetric, weights: SelectionWeights = "equal"
) -> float | None:
    """The figure that ``metric`` names, of the Scores of the central validation split; None where it is undefined.

    ``mean_roc_auc`` is the mean of the two tasks' mean ROC-AUC, over those that are defined. For ``last`` it says
    nothing but that the round's model is taken.
    """
    if metric == "last":
        return 0.0
    disease, cancer = (_mean_area(scores[task], weights) for task in ("disease", "cancer"))
    if metric == "loss":
        return scores["loss"]
    if metric == "disease_roc_auc":
        return disease
    if metric == "cancer_roc_auc":
        return cancer
    defined = [value for value in (disease, cancer) if value is not None]
    return sum(defined) / len(defined) if defined else None


def _mean_area(task: Mapping[str, Any], weights: SelectionWeights) -> float | None:
    if weights == "equal":
        area: float | None = task["macro"]["roc_auc"]
        return area
    rows = (task.get("per_finding") or task["per_class"]).values()
    return certain_mean(
        (row["roc_auc"], row["support"], row.get("known", task.get("known")) - row["support"]) for row in rows
    )


_TASKS = {"xray": "disease", "disease": "disease", "ct": "cancer", "cancer": "cancer"}


def stopped_parts(
    phase: PhaseConfig, scores: Sequence[Mapping[str, Any] | None], weights: SelectionWeights
) -> dict[PartName, int]:
    """The parts of ``phase`` that have had enough, with their best rounds as places in ``scores``: those of the model
    that the phase began with and of every round since, None where a round's model was not taken. One part always goes
    on."""
    found: dict[PartName, int] = {}
    waiting = {part: (0, float("-inf"), 0) for part in phase.parts if phase.part_patience and part in _TASKS}
    for place, one in enumerate(scores):
        for part, (best, highest, waited) in waiting.items():
            area = None if one is None else _mean_area(one[_TASKS[part]], weights)
            if area is None or part in found:
                continue
            waiting[part] = (place, area, 0) if area > highest else (best, highest, waited + 1)
            if waiting[part][2] == phase.part_patience and len(found) + 1 < len(phase.parts):
                found[part] = best
    return found


@dataclass(frozen=True)
class Selection:
    """What selection remembers from round to round. A round with an undefined figure counts as not better.

    ``best_value`` is None until a round has one, and always for ``last``, by which the newest round is the best.
    """

    metric: SelectionMetric
    best_round: int | None = None
    best_value: float | None = None
    rounds_since_best: int = 0
    plateau_reductions: int = 0
    rounds_since_reduction: int = 0

    def after(self, round_number: int, value: float | None, plateau_patience: int | None) -> "Selection":
        """The selection after one more round; ties keep the earlier round."""
        if value is not None and (self.best_value is None or self._better(value, self.best_value)):
            best = None if self.metric == "last" else value
            return replace(
                self, best_round=round_number, best_value=best, rounds_since_best=0, rounds_since_reduction=0
            )
        waited = self.rounds_since_reduction + 1
        reduce = plateau_patience is not None and waited >= plateau_patience
        return replace(
            self,
            rounds_since_best=self.rounds_since_best + 1,
            plateau_reductions=self.plateau_reductions + reduce,
            rounds_since_reduction=0 if reduce else waited,
        )

    def _better(self, value: float, than: float) -> bool:
        return value < than if self.metric == "loss" else value > than
