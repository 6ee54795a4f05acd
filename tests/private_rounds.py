"""Private rounds of all hospitals in one process, for tests and benchmarks/privacy.py."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.aggregation import MaskedSum, halves, whole_numbers
from fedthorax.common.algorithms.algorithm import RoundShape, Segments, State, TakesSums, Update
from fedthorax.common.config import Experiment
from fedthorax.common.model.segments import Weights
from fedthorax.common.privacy.plan import plan_of
from fedthorax.common.training.private_fit import PrivateSteps, moved_by, simulated, simulated_secret
from fedthorax.common.training.private_step import Patients, PrivateHeads


def rounds_in_one_place(
    experiment: Experiment,
    heads: PrivateHeads,
    start: Weights,
    hospitals: Mapping[str, Patients],
    rates: Sequence[float],
) -> Iterator[Segments]:
    """The trained segments after each round of a run in which all ``hospitals`` take part, without messages; ``rates``
    are the rounds' learning rates. The same bits as a simulation's."""
    plan, federation = plan_of(experiment), experiment.federation
    sizes = {name: values.size for name, values in start.items()}
    algorithm, came = algorithm_of(federation.strategy), start
    state: State = {}
    for number, rate in enumerate(rates, start=1):
        aggregate = algorithm.aggregate(federation.strategy_settings, RoundShape(sizes, None, {}))
        sums = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
        for site, patients in hospitals.items():
            steps = PrivateSteps(heads, plan, simulated_secret(experiment, site), simulated(site, number), rate)
            moved = steps.take(came, patients)
            if federation.secure_aggregation:
                sums = {name: sums[name] + moved[name] for name in sums}
            else:
                aggregate.add(Update(site, moved_by(came, moved), 1, {}, None))
        if federation.secure_aggregation and isinstance(aggregate, TakesSums):
            whole = {name: len(hospitals) * whole_numbers(values) + sums[name] for name, values in came.items()}
            everywhere = {name: slice(0, size) for name, size in sizes.items()}
            aggregate.add_sums(
                [MaskedSum(name, everywhere[name], *halves(whole[name]), len(hospitals)) for name in whole]
            )
        came, state = aggregate.result(came, state)
        aggregate.close()
        yield dict(came)
