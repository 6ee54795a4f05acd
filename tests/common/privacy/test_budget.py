import pytest

from fedthorax.common.privacy.accountant import epsilon
from fedthorax.common.privacy.budget import Budget, Charge, Limit


def charge(mark="a", run="r1", steps=10, planned=10, noise=2.0):
    return Charge(run=run, round=1, rate=0.5, noise=noise, steps=steps, planned=planned, mark=mark)


def test_what_is_spent_is_written_down_and_the_same_answer_costs_nothing(tmp_path):
    budget = Budget(tmp_path / "privacy.jsonl")
    assert budget.epsilon(1e-5) == 0
    assert budget.spend(charge()) == 10
    again = Budget(tmp_path / "privacy.jsonl")  # after a crash between spending and sending
    assert again.spend(charge()) == 10
    assert again.spend(charge("b")) == 20
    assert again.epsilon(1e-5) == epsilon(((0.5, 2.0, 20),), 1e-5)


def test_a_step_that_would_exceed_the_limit_is_refused_and_not_written_down(tmp_path):
    most = epsilon(((0.5, 2.0, 20), (0.5, 4.0, 5)), 1e-5)
    budget = Budget(tmp_path / "privacy.jsonl", Limit(epsilon=most, delta=1e-5))
    budget.spend(charge("a", planned=1000))  # a plan that would not fit as a whole
    budget.spend(charge("b", run="r2", steps=5, noise=4.0))
    budget.spend(charge("c"))
    before = budget.path.read_bytes()
    with pytest.raises(ValueError, match="1 more steps would exceed the hospital's limit"):
        budget.spend(charge("d", steps=1))
    assert budget.path.read_bytes() == before


def test_steps_of_a_run_with_other_noise_are_not_forgotten(tmp_path):
    budget = Budget(tmp_path / "privacy.jsonl", Limit(epsilon=epsilon(((0.5, 2.0, 10),), 1e-5), delta=1e-5))
    budget.spend(charge("a"))
    with pytest.raises(ValueError, match="exceed"):
        budget.spend(charge("b", noise=3.0))


def test_a_log_that_was_changed_lets_nothing_be_spent(tmp_path):
    budget = Budget(tmp_path / "privacy.jsonl")
    budget.spend(charge())
    budget.path.write_text(budget.path.read_text().replace('"steps":10', '"steps":1'))
    with pytest.raises(ValueError, match="was changed"):
        budget.spend(charge("b"))
