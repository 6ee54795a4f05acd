"""A whole consortium on one machine, on Flower's simulation runtime."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute
from fedthorax.common.config.travelling import require_local
from fedthorax.server.resume import open_run
from fedthorax.simulations.flower_runtime import on_flower

if TYPE_CHECKING:
    from fedthorax.server.channel import Channel
    from fedthorax.server.session import Outcome
    from fedthorax.server.statistics import ConsortiumStatistics


def simulate(
    experiment: Experiment, overwrite: bool = False, resume: bool = False, leave_out: Sequence[str] = ()
) -> "Outcome":
    """Run ``experiment`` with one virtual hospital for each of ``data.hospitals``; blocks until the report is written.

    With ``resume`` the run that stands in the run folder goes on from its newest checkpoint, without the hospitals
    ``leave_out`` in its first round. SIGINT ends the run in
    order: the outcome's status is then ``interrupted``. Leaves no process, socket or temporary file behind. Raises what
    the run raises, and ValueError or OSError for what is wrong before it starts.
    """
    experiment = absolute(experiment)
    require_local(experiment, experiment.data.hospitals)
    with open_run(experiment, overwrite, resume, leave_out) as run:
        from fedthorax.client.site_store import SiteStore
        from fedthorax.server.session import run_session

        sites, own = tuple(experiment.data.hospitals), SiteStore(run.folder.own)

        def serve(channel: "Channel") -> "Outcome":
            return run_session(experiment, sites, channel, run, "simulate", own_models=own.model)

        return on_flower(experiment, run.folder.events, serve, run.folder.own)


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
