"""A finished run, run again from its own record into a new folder. TensorFlow is imported only where it runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.disclosure.passport import fingerprint
from fedthorax.common.hospital.pool import pool_sites
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.replay.conditions import StoredRun

if TYPE_CHECKING:
    from fedthorax.server.session import Outcome

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
    from fedthorax.simulations.simulate import simulate

    if run.mode == "simulate":
        return simulate(experiment)
    (site,) = run.metrics["sites"]
    return train(experiment, hospital=site if site in experiment.data.hospitals else None)
