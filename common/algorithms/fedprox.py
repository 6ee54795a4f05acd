"""fedprox: the weighted mean; at the hospital a pull back to the model that the round began with.

Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020: the hospital minimises its loss plus
weight / 2 times the *squared* distance to the common model, whose gradient is weight times the difference.
"""

from collections.abc import Sequence
from typing import Any

from fedthorax.common.algorithms.algorithm import Algorithm, AtHospital, LocalStep
from fedthorax.common.algorithms.fedavg import ALL_GOES, Mean
from fedthorax.common.algorithms.settings import StrategySettings


class Pull(LocalStep):
    def __init__(self, settings: StrategySettings, variables: Sequence[Any]) -> None:
        import tensorflow as tf

        super().__init__(settings, variables)
        self._anchors = [tf.Variable(variable.value, trainable=False) for variable in variables]

    def begin(self, given: Sequence[Any]) -> None:
        for anchor, variable in zip(self._anchors, self.variables, strict=True):
            anchor.assign(variable.value)

    def change(self, gradients: Sequence[Any]) -> Sequence[Any]:
        return [
            gradient if gradient is None else gradient + self.settings.proximal * (variable.value - anchor)
            for gradient, variable, anchor in zip(gradients, self.variables, self._anchors, strict=True)
        ]


FEDPROX = Algorithm(ALL_GOES, Mean, hospital=AtHospital(step=Pull))
