"""SCAFFOLD on two hospitals with quadratic losses, whose common minimum is known."""

from typing import Any

import numpy as np
import pytest

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import RoundShape, Trained, Update, Weights
from fedthorax.common.algorithms.scaffold import corrected, correction, leave
from fedthorax.common.algorithms.settings import StrategySettings

CURVATURE, MINIMUM = (1.0, 10.0), (0.0, 1.0)
OPTIMUM = 10 / 11  # where the sum of curvature * (x - minimum) is 0
STEPS, RATE = 10, 0.02
LAYOUT: Any = None  # SCAFFOLD asks nothing of it
SHAPE = RoundShape({"fusion": 1}, None, {}, {}, 2)


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


class Adam:
    """With the constants of Keras, begun anew in every round."""

    def __init__(self) -> None:
        self.first = self.second = 0.0
        self.steps = 0

    def step(self, gradient: float) -> float:
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean, square = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        return RATE * mean / (square**0.5 + 1e-7)


class Descent:
    def step(self, gradient: float) -> float:
        return RATE * gradient


def train(name: str, optimizer: type, rounds: int, start: float) -> float:
    """The common value after some rounds of several local steps each."""
    strategy = algorithm_of(name)
    weights, state = {"fusion": vector(start)}, {}
    own: list[Weights] = [{}, {}]
    for _ in range(rounds):
        aggregate = strategy.aggregate(StrategySettings(), SHAPE)
        common = strategy.tell(state)
        for site, (curvature, minimum) in enumerate(zip(CURVATURE, MINIMUM, strict=True)):
            corrections = correction(common, own[site], ("fusion",)) if name == "scaffold" else {}
            x, local, gradients = float(weights["fusion"][0]), optimizer(), []
            for _ in range(STEPS):
                gradient = curvature * (x - minimum)
                gradients.append(gradient)
                (step,) = corrected([gradient], [float(corrections.get("fusion", vector(0))[0])])
                x -= local.step(step)
            new = {"fusion": vector(float(np.mean(gradients)))}
            left = leave(Trained(LAYOUT, weights, weights, {"fusion": vector(x)}, own[site], new))
            aggregate.add(Update(str(site), left.update, 1, {}, None, left.beside))
            own[site] = left.keep
        weights, state = aggregate.result(weights, state)
    return float(weights["fusion"][0])


def test_with_several_local_steps_fedavg_stops_elsewhere_and_scaffold_reaches_the_optimum():
    """K steps of descent shrink the distance to a hospital's own minimum by (1 - rate * curvature) ** K."""
    left = [(1 - RATE * curvature) ** STEPS for curvature in CURVATURE]
    wrong = (1 - left[1]) / (2 - left[0] - left[1])
    assert abs(wrong - OPTIMUM) > 0.05
    assert train("fedavg", Descent, 300, 0.5) == pytest.approx(wrong, abs=1e-4)
    assert train("scaffold", Descent, 300, 0.5) == pytest.approx(OPTIMUM, abs=1e-4)


def test_with_adam_at_the_hospitals_scaffold_still_goes_to_the_optimum_as_near_as_adam_steps():
    """Adam steps by the rate however small the gradient: two hospitals that pull apart keep the mean where it is."""
    assert abs(train("fedavg", Adam, 200, 0.5) - OPTIMUM) > 0.3
    assert abs(train("scaffold", Adam, 200, 0.5) - OPTIMUM) < 5 * RATE


def test_at_the_optimum_nothing_moves():
    """The own control variates are the hospitals' gradients there, the common one is 0: every corrected one is 0."""
    gradients = [curvature * (OPTIMUM - minimum) for curvature, minimum in zip(CURVATURE, MINIMUM, strict=True)]
    assert sum(gradients) == pytest.approx(0)
    for gradient in gradients:
        left = correction({"fusion": vector(0)}, {"fusion": vector(gradient)}, ("fusion",))["fusion"]
        assert corrected([vector(gradient)], [left])[0] == pytest.approx(0)


def one_round(updates: list[Update], all_pairs: int, state: dict | None = None) -> dict:
    shape = RoundShape({"fusion": 2}, None, {}, {}, all_pairs)
    aggregate = algorithm_of("scaffold").aggregate(StrategySettings(), shape)
    for one in updates:
        aggregate.add(one)
    return aggregate.result({"fusion": vector(0, 0)}, state or {})[1]


def test_the_common_control_variate_moves_by_the_share_of_those_who_answer():
    """One of 4 pairs answers: a quarter of its change; then all: the mean by pairs."""
    change_of = {"fusion": vector(8, -4)}
    state = one_round([Update("a", {"fusion": vector(1, 1)}, 1, {}, None, change_of)], 4)
    assert state["fusion"].tolist() == [2, -1]
    both = [
        Update("a", {"fusion": vector(1, 1)}, 1, {}, None, {"fusion": vector(4, 0)}),
        Update("b", {"fusion": vector(1, 1)}, 3, {}, None, {"fusion": vector(0, 4)}),
    ]
    assert one_round(both, 4, state)["fusion"].tolist() == [3, 2]
