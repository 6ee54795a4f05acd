"""The numbers of the algorithms; docs/strategies.md explains each algorithm and names its source."""

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen

MAX_EXAMPLES = 2**31 - 1  # of all hospitals in one round: what is summed without rounding


class StrategySettings(Frozen):
    """Each strategy reads what is its own."""

    proximal: float = Field(
        default=0.01, gt=0, description="fedprox: weight of the squared distance to the common model in the local loss."
    )
    server_learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Length of the server's step. null: 1, but 0.01 for fedadam, fedyogi and fedadagrad.",
    )
    server_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="fedavgm, fedadam, fedyogi: share of the last rounds' direction."
    )
    second_momentum: float = Field(
        default=0.99, ge=0, lt=1, description="fedadam, fedyogi: share of the last rounds' squared steps."
    )
    adaptivity: float = Field(
        default=1e-3, gt=0, description="fedadam, fedyogi, fedadagrad: steps far below this size are not enlarged."
    )
    trim: float = Field(
        default=0.2, ge=0, lt=0.5, description="trimmed_mean: share of the hospitals cut off at either end."
    )
    malicious_sites: int = Field(
        default=1, ge=0, description="krum, multi_krum, bulyan: as many hospitals may send anything."
    )
    fairness: float = Field(
        default=1.0,
        ge=0,
        description="qfedavg: the larger, the more the hospitals with a high loss count; 0: all alike.",
    )
