"""The hospitals' statistics in a simulation: the same query that a consortium's server makes."""

from typing import TYPE_CHECKING

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute
from fedthorax.simulations.flower_runtime import on_flower

if TYPE_CHECKING:
    from fedthorax.server.channel import Channel
    from fedthorax.server.statistics import ConsortiumStatistics


def simulate_statistics(experiment: Experiment) -> "ConsortiumStatistics":
    """Ask one virtual hospital for each of ``data.hospitals``.

    RuntimeError with their reasons if none answers, KeyboardInterrupt after SIGINT.
    """
    from fedthorax.server.channel import Interrupted
    from fedthorax.server.statistics import ask_statistics

    experiment = absolute(experiment)

    def serve(channel: "Channel") -> "ConsortiumStatistics":
        return ask_statistics(experiment, tuple(experiment.data.hospitals), channel)

    try:
        return on_flower(experiment, None, serve)
    except Interrupted:
        raise KeyboardInterrupt from None
