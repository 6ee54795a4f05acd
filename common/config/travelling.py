"""The experiment as a hospital of a consortium gets it: what is to be done, without anybody's folders."""

import hashlib
from collections.abc import Collection

from fedthorax.common.config.data import CENTRAL, CacheConfig
from fedthorax.common.config.experiment import Experiment
from fedthorax.common.config.model import RECEIVED
from fedthorax.common.config.output import OutputConfig


def travelling(experiment: Experiment) -> Experiment:
    """``experiment`` without a path of the server's or of another hospital's.

    Every hospital's folders and the server's are null, cache and output are the defaults: the hospital puts in its own.
    Pretrained weights stay at the server. They come with the first task, as all weights do, so the hospital builds its
    network from ``model.weights: received``, at random, and never needs the file.
    """
    data = experiment.data.model_copy(
        update={"hospitals": dict.fromkeys(experiment.data.hospitals), "central": None, "cache": CacheConfig()}
    )
    weights = experiment.model.weights
    model = experiment.model.model_copy(update={"weights": weights if weights == "none" else RECEIVED})
    return experiment.model_copy(update={"data": data, "model": model, "output": OutputConfig()})


def experiment_digest(experiment: Experiment) -> str:
    """SHA-256, the same at the server and at every hospital, whatever folders each has put in."""
    return hashlib.sha256(travelling(experiment).model_dump_json().encode()).hexdigest()


def require_local(experiment: Experiment, hospitals: Collection[str], least: int | None = None) -> None:
    """Raise ValueError unless a run of these hospitals finds all it needs here: folders and starting weights. With
    ``least`` a run goes on without the folders of hospitals that are not there, while so many of them have theirs."""
    require_weights(experiment)
    require_folders(experiment, (CENTRAL,))
    require_folders(experiment, hospitals, least)


def require_folders(experiment: Experiment, names: Collection[str], least: int | None = None) -> None:
    """Raise ValueError where one of ``names`` names no folders, FileNotFoundError where folders do not exist at so many
    that fewer than ``least`` are left (None: than all). It costs nothing, and comes before anything that is slow."""
    gone = [
        (name, folder)
        for name in names
        for folder in experiment.data.folders_of(name)[0].by_modality.values()
        if not folder.is_dir()
    ]
    if len(names) - len({name for name, _ in gone}) < (len(names) if least is None else least):
        places = ((name if name == CENTRAL else f"hospitals.{name}", folder) for name, folder in gone)
        raise FileNotFoundError("; ".join(f"data.{place}: {folder}: no such folder" for place, folder in places))


def require_weights(experiment: Experiment) -> None:
    """Raise ValueError where ``experiment`` was made for a hospital, which waits for weights that nobody sends."""
    if experiment.model.weights == RECEIVED:
        raise ValueError(
            f"model.weights is {RECEIVED}, which only a hospital of a consortium reads; "
            "give imagenet, none, or a weights file"
        )
