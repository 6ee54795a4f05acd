"""What private steps cost: epsilon for a delta, by privacy loss distributions (Koskela et al., AISTATS 2020; Doroshenko
et al., PETS 2022), as an upper bound. Two sets of patients are neighbours where one has a patient more.
"""

from functools import lru_cache

Spent = tuple[float, float, int]  # sampling rate, noise multiplier, steps

LIBRARY = "dp-accounting"
GRID = 1000  # noise multipliers are multiples of 1 / GRID, so that all who work one out have the same
_FINEST = 1e-4  # of the losses


@lru_cache(maxsize=4096)
def epsilon(spent: tuple[Spent, ...], delta: float) -> float:
    """Of all that was ``spent`` together; each sampled by Poisson, with Gaussian noise of ``noise multiplier`` times
    what a patient can change."""
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=_FINEST)
    for rate, noise, steps in spent:
        event = dp_event.GaussianDpEvent(noise)
        accountant.compose(event if rate == 1 else dp_event.PoissonSampledDpEvent(rate, event), steps)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=64)
def noise_multiplier(most: float, delta: float, rate: float, steps: int) -> float:
    """The least noise with which ``steps`` spend no more than ``most``."""

    def enough(thousandths: int) -> bool:
        return epsilon(((rate, thousandths / GRID, steps),), delta) <= most

    high = GRID
    while not enough(high):
        high *= 2
    low = high // 2
    while high == GRID and low > GRID // 4 and enough(low):
        high, low = low, low // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high / GRID


def version() -> str:
    from importlib.metadata import version as of

    return f"{LIBRARY} {of(LIBRARY)}"
