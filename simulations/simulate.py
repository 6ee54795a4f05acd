"""A whole consortium on one machine, on Flower's simulation runtime; and a finished run again from its own record."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.config.load import absolute
from fedthorax.common.config.travelling import require_folders, require_local
from fedthorax.common.disclosure.passport import fingerprint
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.replay.conditions import StoredRun
from fedthorax.server.resume import open_run
from fedthorax.simulations.centralised import pool_sites
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
    require_local(experiment, experiment.data.hospitals, experiment.required_sites - len(leave_out))
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
    require_folders(experiment, experiment.data.hospitals, 1)

    def serve(channel: "Channel") -> "ConsortiumStatistics":
        return ask_statistics(experiment, tuple(experiment.data.hospitals), channel)

    try:
        return on_flower(experiment, None, serve)
    except Interrupted:
        raise KeyboardInterrupt from None


Progress = Callable[[int, int], None]


def require_replayable(run: StoredRun) -> None:
    """Raise ValueError for a run whose hospitals are elsewhere."""
    if run.mode not in ("simulate", "train"):
        raise ValueError(
            f"{run.folder} is a run of a consortium, whose images are at the hospitals; run it again with "
            f"`fedthorax run {run.folder}/config.yaml --name NEW`, then compare with "
            f"`fedthorax replay {run.folder} --against NEW-RUN-FOLDER`"
        )


def replay_experiment(run: StoredRun, name: str | None = None) -> Experiment:
    """The stored experiment under a name that is free beside ``run``, which is never written.

    ``name`` is by default the old one with ``-replay``, and a number where that is taken. FileExistsError where a given
    name is taken.
    """
    beside = run.folder.absolute().parent
    if name is None:
        base, number = f"{run.experiment.name}-replay", 2
        name = base
        while (beside / name).exists():
            name, number = f"{base}-{number}", number + 1
    elif (beside / name).exists():
        raise FileExistsError(f"{beside / name} is there already; a replay goes into a new folder: choose another name")
    output = run.experiment.output.model_copy(update={"folder": beside})
    return Experiment.model_validate(
        {**run.experiment.model_dump(mode="json"), "name": name, "output": output.model_dump(mode="json")}
    )


def data_fingerprint(run: StoredRun, site: str, progress: Progress | None = None) -> str:
    """Of the images, labels and splits that ``site`` has now; each file is read. Errors: ``load_hospital``."""
    experiment = run.experiment
    if site not in (CENTRAL, *experiment.data.hospitals):  # trained on all hospitals' images in one pool
        sites = [load_hospital(experiment, name, progress) for name in experiment.data.hospitals]
        return fingerprint(pool_sites(site, sites))
    return fingerprint(load_hospital(experiment, site, progress))


def run_again(run: StoredRun, experiment: Experiment) -> "Outcome":
    """``experiment`` in the mode of ``run``: with Flower's simulation, pooled, or at the one hospital it had."""
    from fedthorax.simulations.centralised import train

    if run.mode == "simulate":
        return simulate(experiment)
    (site,) = run.metrics["sites"]
    return train(experiment, hospital=site if site in experiment.data.hospitals else None)
