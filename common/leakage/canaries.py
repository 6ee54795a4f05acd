"""A lower bound on epsilon from one run: canaries are in with probability 1/2 each, and are guessed at.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, arXiv 2305.08846: under
(epsilon, delta) the right ones among r guesses are no more than binomial draws with e^eps / (1 + e^eps) give, but for a
term of delta times the number of canaries.
"""

import math

import numpy as np
from scipy.stats import binom

from fedthorax.common.leakage.found import Audit
from fedthorax.common.leakage.membership import Members, Values

LEVEL = 0.05
_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the canaries that are guessed at; the best counts, for a fifth of the level


def probability(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """That training with (epsilon, delta) lets so many guesses be right, at most."""
    chance = 1 / (1 + math.exp(-epsilon))
    beyond = float(binom.sf(right - 1, guesses, chance))
    if not delta or not right:
        return min(1.0, beyond)
    lost = np.arange(1, right + 1)
    among = np.cumsum(binom.pmf(right - lost, guesses, chance))
    return min(1.0, beyond + 2 * canaries * delta * float((among / lost).max()))


def lower_bound(canaries: int, guesses: int, right: int, delta: float, level: float = LEVEL) -> float:
    """The largest epsilon that is refused at the level; 0 where none is."""
    if probability(canaries, guesses, right, 0.0, delta) > level:
        return 0.0
    low, high = 0.0, 64.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if probability(canaries, guesses, right, middle, delta) <= level else (low, middle)
    return low


def audit(scores: Values, included: Members, delta: float = 0.0, claimed: float | None = None) -> Audit:
    """``scores`` (m,): the higher, the more it looks as if the canary was in; ``included`` (m,): whether it was."""
    canaries, order = len(scores), np.argsort(scores, kind="stable")
    found: list[tuple[float, int, int]] = []
    for part in _SHARES:
        each = int(part * canaries) // 2
        if each:
            right = int((~included[order[:each]]).sum() + included[order[-each:]].sum())
            found.append((lower_bound(canaries, 2 * each, right, delta, LEVEL / len(_SHARES)), 2 * each, right))
    epsilon, guesses, right = max(found)
    most = lower_bound(canaries, canaries // 2 * 2, canaries // 2 * 2, delta, LEVEL / len(_SHARES))
    return Audit(
        canaries=canaries,
        guesses=guesses,
        right=right,
        epsilon=epsilon,
        most=most,
        delta=delta,
        claimed=claimed,
        broken=claimed is not None and epsilon > claimed,
    )
