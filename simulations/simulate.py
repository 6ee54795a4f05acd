"""A whole consortium on one machine, on Flower's simulation runtime."""

from typing import TYPE_CHECKING

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute
from fedthorax.common.run_folder import RunFolder
from fedthorax.simulations.flower_runtime import on_flower

if TYPE_CHECKING:
    from fedthorax.server.channel import Channel
    from fedthorax.server.session import Outcome


def simulate(experiment: Experiment, overwrite: bool = False) -> "Outcome":
    """Run ``experiment`` with one virtual hospital for each of ``data.hospitals``; blocks until the report is written.

    SIGINT ends the run in order: the outcome's status is then ``interrupted``. Leaves no process, socket or temporary
    file behind. Raises what the run raises, and ValueError or OSError for what is wrong before it starts.
    """
    experiment = absolute(experiment)
    with RunFolder.create(experiment.run_folder, overwrite) as folder:
        from fedthorax.server.session import run_session

        def serve(channel: "Channel") -> "Outcome":
            return run_session(experiment, tuple(experiment.data.hospitals), channel, folder, "simulate")

        return on_flower(experiment, folder.events, serve)
