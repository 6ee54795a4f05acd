import pytest

from fedthorax.common.config.training import PhaseConfig, ScheduleConfig, TrainingConfig
from fedthorax.common.training.schedule import plan_round


def training(**schedule) -> TrainingConfig:
    phases = (PhaseConfig(rounds=3, trainable="heads", learning_rate=0.1), PhaseConfig(rounds=2, trainable="all"))
    return TrainingConfig(phases=phases, learning_rate=0.01, schedule=ScheduleConfig(**schedule))


def rates(config: TrainingConfig) -> list[float]:
    return [round(plan_round(config, number).learning_rate, 6) for number in range(1, 6)]


def test_a_phase_has_its_own_rate_or_the_common_one():
    assert rates(training()) == [0.1, 0.1, 0.1, 0.01, 0.01]


def test_the_phases_follow_each_other():
    config = training()
    assert [plan_round(config, number).phase_index for number in range(1, 6)] == [0, 0, 0, 1, 1]
    assert [plan_round(config, number).phase.trainable for number in (3, 4)] == ["heads", "all"]


def test_cosine_falls_to_the_final_fraction_within_each_phase():
    assert rates(training(kind="cosine", final_fraction=0.1)) == [0.1, 0.055, 0.01, 0.01, 0.001]


def test_steps_reduce_every_so_many_rounds():
    assert rates(training(kind="step", step_rounds=2, step_factor=0.5)) == [0.1, 0.1, 0.05, 0.01, 0.01]


def test_every_reduction_on_plateau_multiplies():
    config = training(plateau_patience=1, plateau_factor=0.2)
    assert plan_round(config, 1, plateau_reductions=2).learning_rate == pytest.approx(0.1 * 0.2**2)


def test_models_are_averaged_in_the_last_round_of_a_phase():
    phases = (PhaseConfig(rounds=3, trainable="heads", average_last=2), PhaseConfig(rounds=2, trainable="all"))
    config = TrainingConfig(phases=phases)
    assert [plan_round(config, number).averages for number in range(1, 6)] == [1, 1, 2, 1, 1]


def test_no_more_rounds_are_averaged_than_a_phase_has():
    with pytest.raises(ValueError, match="average_last is 4, but the phase has only 3 rounds"):
        PhaseConfig(rounds=3, trainable="heads", average_last=4)


@pytest.mark.parametrize(("number", "message"), [(0, "numbered from 1, got 0"), (6, "round 6 is beyond the 5 rounds")])
def test_rounds_outside_the_phases_are_refused(number, message):
    with pytest.raises(ValueError, match=message):
        plan_round(training(), number)
