import math

import numpy as np
import pytest

from fedthorax.server.update_norms import earlier_norms, step_norm, unusual


def test_the_norm_is_that_of_the_change_over_all_segments():
    before = {"fusion": np.array([1.0, 2.0], np.float32), "cancer": np.array([5.0], np.float32), "xray": np.ones(9)}
    update = {"fusion": np.array([1.0, 4.0], np.float32), "cancer": np.array([4.0], np.float32)}
    assert step_norm(update, before) == pytest.approx(math.sqrt(4 + 1))


def test_the_rule_by_hand():
    # Logarithms 0, 1, 2, 3 and 4 to base e: median 2, deviations 2 1 0 1 2, their median 1.
    others = [math.exp(power) for power in range(5)]
    limit = 2 + 5 * 1.4826
    assert unusual(math.exp(limit - 0.01), others, 5) is None
    assert "5.0 robust standard deviations away" in unusual(math.exp(limit + 0.01), others, 5)
    assert unusual(math.exp(2 - 5 * 1.4826 - 0.01), others, 5).startswith("the update changes the weights by")


def test_steps_that_are_all_alike_leave_room_all_the_same():
    others = [2.0] * 6
    assert unusual(2.0 * math.exp(5 * 0.25 - 0.01), others, 5) is None
    assert "3.53 times more than usual (2, median of 6)" in unusual(2.0 * math.exp(5 * 0.25 + 0.01), others, 5)
    assert "100 times less than usual" in unusual(0.02, others, 5)


def test_one_wild_step_among_the_others_does_not_move_the_yardstick():
    assert unusual(1e6, [1.0, 1.1, 0.9, 1e6, 1.0], 5) is not None
    assert unusual(1.0, [1.0, 1.1, 0.9, 1e6, 1.0], 5) is None


@pytest.mark.parametrize("others", [[], [1.0] * 3, [1.0, 1.0, 1.0, 0.0]])
def test_too_few_others_are_no_yardstick(others):
    assert unusual(1e9, others, 5) is None


def test_a_step_of_nothing_is_told():
    assert unusual(0.0, [2.0] * 4, 5) == "the update changes nothing; others change the weights by 2 (norm)"


def test_the_yardstick_is_of_the_last_rounds_of_the_phase_and_of_who_is_in():
    def entry(phase, *norms):
        return {"phase": phase, "sites": {str(number): {"update_norm": norm} for number, norm in enumerate(norms)}}

    rounds = [
        entry(None, None),
        entry({"index": 1}, 1.0),
        entry({"index": 0}, 9.0),
        entry({"index": 1}, 2.0, None),
        entry({"index": 1}, 3.0, 4.0),
        entry({"index": 1}, 5.0, None),  # the present round
    ]
    assert earlier_norms(rounds, 1) == [2.0, 3.0, 4.0, 5.0]
