"""The algorithms by name: how the hospitals' updates become the next model, and what each changes at a hospital.

The package stands below ``config``, which asks an algorithm what it cannot be combined with. Nothing of it is imported
before an experiment names it: a command line that only shows its help needs no numpy.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fedthorax.common.algorithms.algorithm import Algorithm

# Name → file beside this one, in which the algorithm stands under its name in capitals.
TABLE = {
    "fedavg": "fedavg",
    "fedprox": "fedprox",
    "fedbn": "fedbn",
    "scaffold": "scaffold",
    "fedavgm": "server_optimizer",
    "fedadam": "server_optimizer",
    "fedyogi": "server_optimizer",
    "fedadagrad": "server_optimizer",
    "qfedavg": "qfedavg",
    "median": "robust",
    "trimmed_mean": "robust",
    "krum": "robust",
    "multi_krum": "robust",
    "bulyan": "robust",
}

if TYPE_CHECKING:
    StrategyName = str
else:
    StrategyName = Literal[tuple(TABLE)]


@cache
def algorithm_of(name: str) -> "Algorithm":
    """Both halves of ``federation.strategy``; KeyError for a name that the table does not have."""
    found: Algorithm = getattr(import_module(f"{__name__}.{TABLE[name]}"), name.upper())
    return found
