"""Which phase a round belongs to, and its learning rate."""

import math
from dataclasses import dataclass

from fedthorax.common.config.training import PhaseConfig, TrainingConfig


@dataclass(frozen=True)
class RoundPlan:
    """What the hospitals are asked to do in one round, whose model is the mean of ``averages`` rounds."""

    phase_index: int
    phase: PhaseConfig
    learning_rate: float
    averages: int = 1


def plan_round(training: TrainingConfig, round_number: int, plateau_reductions: int = 0) -> RoundPlan:
    """The plan of round 1, 2, …; a schedule begins anew in each phase.

    ``cosine`` goes from the phase's learning rate in its first round to ``final_fraction`` of it in its last one
    (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts). Every reduction on plateau multiplies what comes out.
    Raises ValueError outside the phases' rounds.
    """
    position = round_number - 1
    if position < 0:
        raise ValueError(f"rounds are numbered from 1, got {round_number}")
    for index, phase in enumerate(training.phases):
        if position < phase.rounds:
            rate = (phase.learning_rate or training.learning_rate) * _decay(training, position, phase.rounds)
            averages = phase.average_last if position == phase.rounds - 1 else 1
            return RoundPlan(index, phase, rate * training.schedule.plateau_factor**plateau_reductions, averages)
        position -= phase.rounds
    raise ValueError(f"round {round_number} is beyond the {training.num_rounds} rounds of training.phases")


def _decay(training: TrainingConfig, position: int, rounds: int) -> float:
    schedule = training.schedule
    if schedule.kind == "cosine":
        progress = position / (rounds - 1) if rounds > 1 else 0.0
        return schedule.final_fraction + (1 - schedule.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
    if schedule.kind == "step":
        return float(schedule.step_factor ** (position // schedule.step_rounds))
    return 1.0
