"""fedavg and fedprox: the weighted mean.

FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020; the server does what FedAvg does,
the difference is in the hospitals' loss (common/training/proximal.py).
"""

from fedthorax.common.config.strategy import StrategySettings
from fedthorax.common.model.segments import Weights
from fedthorax.server.aggregation import FederatedAverage
from fedthorax.server.branchwise import BranchwiseAverage
from fedthorax.server.strategies.update import RoundShape, Segments, Strategy, Update, keep


class Mean:
    """The mean by pairs, or by parts; it streams: no update is kept."""

    def __init__(self, shape: RoundShape) -> None:
        self._average: FederatedAverage | BranchwiseAverage
        if shape.parts is None:
            self._average = FederatedAverage(shape.sizes)
        else:
            self._average = BranchwiseAverage(shape.sizes, shape.parts)

    @property
    def num_examples(self) -> int:
        return self._average.num_examples

    def add(self, update: Update) -> None:
        if isinstance(self._average, BranchwiseAverage):
            self._average.add(update.weights, update.counts)
        else:
            self._average.add(update.weights, update.num_pairs)

    def result(self, before: Weights) -> Segments:
        return self._average.result(before)

    def close(self) -> None:
        """Nothing is kept outside of memory."""


def new_mean(settings: StrategySettings, shape: RoundShape) -> Mean:
    return Mean(shape)


FEDAVG = Strategy(new_mean, keep)
