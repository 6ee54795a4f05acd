"""fedavg, fedprox and fedbn: the weighted mean.

FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020; the server does what FedAvg does,
the difference is in the hospitals' loss (common/training/proximal.py).
FedBN: Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR
2021; batch normalisation stays at the hospitals (client/own_part.py) and is not averaged.
"""

from fedthorax.common.config.strategy import StrategySettings
from fedthorax.common.model.segments import Weights
from fedthorax.server.aggregation import FederatedAverage
from fedthorax.server.branchwise import BranchwiseAverage
from fedthorax.server.strategies.update import RoundShape, Segments, State, Strategy, Update, keep


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


def keep_but_own(
    settings: StrategySettings, shape: RoundShape, before: Weights, found: Segments, state: State
) -> tuple[Segments, State]:
    """The mean, with the server's own values where the hospitals have theirs."""
    for segment, wheres in shape.own.items():
        for where in wheres:
            found[segment][where] = before[segment][where]
    return found, state


FEDAVG = Strategy(new_mean, keep)
FEDBN = Strategy(new_mean, keep_but_own)
