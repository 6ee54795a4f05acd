import pytest

from fedthorax.common.privacy.accountant import epsilon, noise_multiplier


@pytest.mark.parametrize(
    ("spent", "delta", "expected"),
    [
        ((0.01, 4.0, 10_000), 1e-5, 0.947),  # Abadi et al. give 1.26 by moments; RDP gives 1.035
        ((250 / 60_000, 1.3, 3_600), 1e-5, 0.853),  # RDP gives 0.942
        ((1.0, 1.0, 1), 1e-5, 4.3772),  # the closed form of Balle and Wang, ICML 2018
    ],
)
def test_what_steps_cost_is_what_others_have_published(spent, delta, expected):
    assert epsilon((spent,), delta) == pytest.approx(expected, abs=5e-4)


def test_all_that_was_spent_counts_together():
    assert epsilon(((1.0, 2.0, 4), (1.0, 4.0, 16)), 1e-5) == pytest.approx(epsilon(((1.0, 1.0, 2),), 1e-5), rel=1e-3)


@pytest.mark.parametrize("most", [0.5, 3.0, 40.0])
def test_the_noise_is_the_least_that_is_enough(most):
    noise = noise_multiplier(most, 1e-4, 0.5, 20)
    assert epsilon(((0.5, noise, 20),), 1e-4) <= most < epsilon(((0.5, noise - 0.001, 20),), 1e-4)
