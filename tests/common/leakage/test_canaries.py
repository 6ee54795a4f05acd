"""The audit: a lower bound that holds for honest training, and refuses a promise that is not kept."""

import math

import numpy as np
import pytest

from fedthorax.common.leakage.canaries import audit, lower_bound, probability
from fedthorax.common.leakage.measure import audit_run
from fedthorax.common.leakage.references import trainer


def test_if_all_guesses_are_right_the_bound_is_that_of_a_power():
    """q^100 = 0.05 for q = 0.9705, and epsilon is log(q / (1 - q))."""
    q = 0.05 ** (1 / 100)
    assert lower_bound(100, 100, 100, 0.0) == pytest.approx(math.log(q / (1 - q)), abs=1e-3)
    assert lower_bound(100, 100, 55, 0.0) == 0


def test_delta_adds_its_term():
    """One guess of two canaries, right: q, and 2 · 2 · delta · P(0 right) / 1 beside it."""
    q = 1 / (1 + math.exp(-1.0))
    assert probability(2, 1, 1, 1.0, 0.0) == pytest.approx(q)
    assert probability(2, 1, 1, 1.0, 0.01) == pytest.approx(q + 0.04 * (1 - q))
    assert lower_bound(100, 50, 50, 1e-3) < lower_bound(100, 50, 50, 0.0)


def randomised_response(epsilon, canaries, random):
    """Keeps epsilon exactly: the bit, or with probability 1 / (1 + e^eps) the other one."""
    included = random.random(canaries) < 0.5
    told = included ^ (random.random(canaries) < 1 / (1 + math.exp(epsilon)))
    return told + random.random(canaries) / 10, included


def test_training_that_keeps_its_promise_is_refuted_in_five_of_a_hundred_audits_at_most():
    random = np.random.default_rng(0)
    broken = [audit(*randomised_response(1.0, 200, random), claimed=1.0).broken for _ in range(200)]
    assert sum(broken) <= 10
    assert any(audit(*randomised_response(1.0, 200, random)).epsilon > 0.3 for _ in range(5)), "and it finds something"


def test_training_that_leaks_more_than_it_promises_is_refuted():
    random = np.random.default_rng(0)
    told = audit(*randomised_response(6.0, 200, random), claimed=1.0)
    assert told.broken
    assert 1 < told.epsilon <= told.most
    assert (told.canaries, told.claimed) == (200, 1.0)


def test_heads_that_learn_canaries_by_heart_are_found_and_heads_that_learn_nothing_are_not(heads, start, draw_pool):
    pool = draw_pool(12, 0)
    told = audit_run(heads, pool, start, trainer(heads, start, range(1, 13)), 60, 1)
    assert told.epsilon > 1
    assert (told.claimed, told.broken) == (None, False), "nothing is promised"

    def nothing(pool, members, seed, done):
        heads.layout.write(start)
        return 1

    assert audit_run(heads, pool, start, nothing, 60, 1).epsilon < 0.5


def audited(network, start, pool, fault):
    return audit_run(network, pool, start, trainer(network, start, range(1, 11), fault), 200, 1)


def test_private_steps_keep_their_promise(private_network, private_start, draw_private_pool):
    told = audited(private_network, private_start, draw_private_pool(), "none")
    assert not told.broken
    assert told.epsilon < 1


@pytest.mark.parametrize("fault", ["no noise", "no clipping"])
def test_private_steps_without_noise_or_clipping_turn_the_audit_red(
    private_network, private_start, draw_private_pool, fault
):
    told = audited(private_network, private_start, draw_private_pool(), fault)
    assert told.broken, told
    assert told.epsilon > 1
