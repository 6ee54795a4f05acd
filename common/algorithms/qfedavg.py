"""qfedavg: hospitals on which the model is worse count more.

Li et al., "Fair Resource Allocation in Federated Learning", ICLR 2020, algorithm q-FedAvg: with F the loss of the
incoming model at a hospital, d = L (w - w_k) and q the fairness, w moves by - sum(F^q d) / sum(q F^(q-1) |d|² + L F^q).
L, in the paper the inverse of the local learning rate, is the inverse of ``server_learning_rate`` here, because the
local optimiser is Adam; F is measured on the hospital's validation split, which is what a hospital tells of the
incoming model. With q = 0 it is the plain mean of the hospitals.
"""

import numpy as np

from fedthorax.common.algorithms.algorithm import (
    Algorithm,
    Refuses,
    RoundShape,
    Segments,
    State,
    Update,
    Weights,
    one_is_enough,
)
from fedthorax.common.algorithms.settings import StrategySettings
from fedthorax.common.algorithms.spool import Spool

_SMALLEST_LOSS = 1e-10  # a loss of 0 to a negative power
_LARGEST_LOSS = 1e6  # far above any of a model that can be gone on with


class QFedAvg(Spool):
    def __init__(self, settings: StrategySettings, shape: RoundShape) -> None:
        super().__init__(shape)
        self._settings = settings

    def add(self, update: Update) -> None:
        if update.loss is None:
            raise ValueError(
                "qfedavg weighs by the loss of the incoming model, which this hospital does not tell: it has no "
                "validation images, or its limits keep the loss"
            )
        if update.loss > _LARGEST_LOSS:
            raise ValueError(
                f"qfedavg weighs by the loss of the incoming model, and {update.loss:.3g} would own the mean"
            )
        super().add(update)

    def result(self, before: Weights, state: State) -> tuple[Segments, State]:
        q, inverse = self._settings.fairness, 1 / (self._settings.server_learning_rate or 1.0)
        sites = self.sites
        losses = {site: max(float(self.light(site).loss or 0.0), _SMALLEST_LOSS) for site in sites}
        norms = dict.fromkeys(sites, 0.0)
        for part in self.parts:
            old, trained = before[part.segment][part.where].astype(np.float64), self.trained(part)
            for block, values in self.blocks(part, sites):
                for site, row in zip(sites, values, strict=True):
                    step = inverse * (old[block] - row) * trained[block]
                    norms[site] += float(step @ step)
        total = sum(q * losses[s] ** (q - 1) * norms[s] + inverse * losses[s] ** q for s in sites)
        found: Segments = {part.segment: before[part.segment].copy() for part in self.parts}
        for part in self.parts:
            old = before[part.segment][part.where].astype(np.float64)
            target = found[part.segment][part.where]
            for block, values in self.blocks(part, sites):
                shares = np.array([losses[site] ** q for site in sites])[:, None]
                step = (shares * inverse * (old[block] - values)).sum(axis=0) / total
                target[block] = (old[block] - step).astype(np.float32)
            for where in self._shape.statistics.get(part.segment, ()):
                rows = [self.values(site, part.segment)[where].astype(np.float64) for site in sites]
                found[part.segment][where] = np.mean(rows, axis=0).astype(np.float32)
        return found, state


QFEDAVG = Algorithm(
    Refuses(
        codecs=None,
        tokens="which compares whole updates",
        masks="which weighs each update by its own loss and length",
        least_sites=one_is_enough,
    ),
    QFedAvg,
)
