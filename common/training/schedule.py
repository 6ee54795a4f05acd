"""Which phase a round belongs to, and its learning rate."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from fedthorax.common.config.training import ENCODERS, PhaseConfig, TrainingConfig
from fedthorax.common.ground.wording import number_of
from fedthorax.common.model import SEGMENTS


@dataclass(frozen=True)
class Scope:
    """What is trained of a network where it is neither all nor the heads: ``factors`` of the round's learning rate, by
    segment, and of which modality's backbone only so many of its last blocks, the ``tops``."""

    factors: tuple[tuple[str, float], ...]
    tops: tuple[tuple[str, int], ...] = ()


Trainable = str | Scope  # "heads" or "all", as in training.phases; or "batch_norm" or "outputs", of a model at home


def scope_of(phase: PhaseConfig, stopped: Collection[str] = ()) -> Trainable:
    """What a phase trains, less the ``stopped`` parts."""
    if phase.trainable != "parts":
        return phase.trainable
    factors = {
        segment: phase.parts[part].rate_factor
        for part in phase.parts
        if part not in stopped
        for segment in segments_of_part(phase, part)
    }
    tops = {part: config.top for part, config in phase.parts.items() if config.top and part not in stopped}
    return Scope(tuple(factors.items()), tuple(tops.items()))


def segments_of_part(phase: PhaseConfig, part: str) -> list[str]:
    """The segments that a part of ``phase`` stands for."""
    if part == "heads":
        return [segment for segment in SEGMENTS if not segment.endswith(".backbone")]
    if part not in ENCODERS:
        return [part]
    backbone = [f"{part}.backbone"] if phase.parts[part].top != 0 else []  # type: ignore[index]
    return backbone + ([] if "heads" in phase.parts else [f"{part}.projection"])


@dataclass(frozen=True)
class RoundPlan:
    """What the hospitals are asked to do in one round, the ``position``-th of its phase from 0, whose model is the mean
    of ``averages`` rounds. ``stopped`` parts are trained no longer."""

    phase_index: int
    phase: PhaseConfig
    learning_rate: float
    averages: int = 1
    position: int = 0
    stopped: tuple[str, ...] = ()


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
            rate *= training.schedule.plateau_factor**plateau_reductions
            return RoundPlan(index, phase, rate, averages, position)
        position -= phase.rounds
    raise ValueError(f"round {round_number} is beyond the {number_of(training.num_rounds, 'round')} of training.phases")


def _decay(training: TrainingConfig, position: int, rounds: int) -> float:
    schedule = training.schedule
    if schedule.kind == "cosine":
        progress = position / (rounds - 1) if rounds > 1 else 0.0
        return schedule.final_fraction + (1 - schedule.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
    if schedule.kind == "step":
        return float(schedule.step_factor ** (position // schedule.step_rounds))
    return 1.0
