"""Going on with a run that was stopped: only with the same experiment, from the newest checkpoint that is whole."""

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.config import Experiment
from fedthorax.common.ground.machine import FULL
from fedthorax.common.ground.strict_json import side_by_side
from fedthorax.common.ground.wording import number_of
from fedthorax.common.masking.opening import threshold
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.training.schedule import plan_round
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.tracking import require_trackers

# Keys that change neither the work of a round nor what is made of it. A mapping or list stands for all below it.
_FREE = (
    ("output",),
    ("personalisation",),
    ("simulation",),
    ("data", "cache"),
    ("federation", "round_timeout_s"),
    ("federation", "connect_timeout_s"),
    ("federation", "min_sites"),
    ("federation", "unusual_updates"),
    ("federation", "unusual_factor"),
    ("federation", "patience"),
)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class OpenRun:
    """A run folder, locked, and where the run in it goes on; ``checkpoint`` is None where it begins.

    ``notes`` are lines that a person should read, such as the name of a damaged checkpoint. ``leave_out`` are hospitals
    that the first round has no part for: not even the update that one has kept.
    """

    folder: RunFolder
    checkpoint: Checkpoint | None = None
    notes: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


@contextmanager
def open_run(
    experiment: Experiment, overwrite: bool = False, resume: bool = False, leave_out: Sequence[str] = ()
) -> Iterator[OpenRun]:
    """The run folder of ``experiment`` for one run of it.

    With ``resume`` the run that is there goes on. FileNotFoundError if none is there, ValueError if it was made from
    another experiment, has finished, or has no whole checkpoint; FileExistsError and BlockingIOError as RunFolder says.
    """
    path = experiment.run_folder
    if overwrite and resume:
        raise ValueError("--overwrite removes the run that --resume would go on with; give one of them")
    check_leave_out(experiment, leave_out, resume)
    require_trackers(experiment.output)
    with writable(path):
        folder = RunFolder.resume(path) if resume else RunFolder.create(path, overwrite)
    with folder:
        yield replace(_resumed(experiment, folder), leave_out=tuple(leave_out)) if resume else OpenRun(folder)


def check_leave_out(experiment: Experiment, leave_out: Sequence[str], resume: bool) -> None:
    """Raise ValueError where ``--leave-out`` names nobody, everybody, or a run that does not go on."""
    strangers = [name for name in leave_out if name not in experiment.data.hospitals]
    if strangers:
        raise ValueError(
            f"--leave-out {', '.join(strangers)}: the hospitals are {', '.join(experiment.data.hospitals)}"
        )
    if leave_out and not resume:
        raise ValueError("--leave-out is for a run that goes on: give it with --resume")
    if leave_out and not set(experiment.data.hospitals) - set(leave_out):
        raise ValueError("--leave-out names every hospital, so nobody is left to train")
    federation, left = experiment.federation, len(set(experiment.data.hospitals) - set(leave_out))
    needed = algorithm_of(federation.strategy).refuses.least_sites(federation.strategy_settings)
    if leave_out and left < needed:
        raise ValueError(
            f"--leave-out leaves {number_of(left, 'hospital')}, but federation.strategy {federation.strategy} needs "
            f"the updates of {needed} in every round"
        )
    fewest = max(threshold(len(experiment.data.hospitals)), federation.smallest_sum, experiment.required_sites)
    if leave_out and federation.secure_aggregation and left < fewest:
        raise ValueError(
            f"--leave-out leaves {number_of(left, 'hospital')}, but each of them helps to unmask sums of {fewest} or "
            "more (federation.min_sites, federation.smallest_sum)"
        )


@contextmanager
def open_finished(experiment: Experiment) -> Iterator[RunFolder]:
    """The run folder of ``experiment``, locked, to add to what a finished run has left there. ValueError if the run was
    made from another experiment."""
    with writable(experiment.run_folder):
        folder = RunFolder.resume(experiment.run_folder)
    with folder:
        check_same(_experiment_before(folder), experiment, 0)
        yield folder


def _resumed(experiment: Experiment, folder: RunFolder) -> OpenRun:
    checkpoints = Checkpoints(folder.checkpoints, experiment.output.keep_checkpoints)
    if not checkpoints.rounds():
        return OpenRun(folder, notes=(f"{folder.path} was stopped before its first checkpoint; it begins anew",))
    checkpoint, damaged = checkpoints.latest()
    check_same(_experiment_before(folder), experiment, checkpoint.round)
    status = folder.read_metrics()["status"] if folder.metrics.is_file() else "running"
    patience = experiment.federation.patience
    goes_on = checkpoint.round < experiment.training.num_rounds and not (
        patience and checkpoint.selection.rounds_since_best >= patience
    )
    if status == "finished" and not goes_on:
        raise ValueError(
            f"{folder.path} has finished after round {checkpoint.round}; there is nothing to go on with "
            "(more rounds in the last of training.phases, or a longer federation.patience, would give it something)"
        )
    with writable(folder.path):
        checkpoints.remove_after(checkpoint.round)
    notes = [f"{line}; going on from round {checkpoint.round}" for line in damaged]
    return OpenRun(folder, checkpoint, (*notes, f"resumed after round {checkpoint.round}"))


def _experiment_before(folder: RunFolder) -> Experiment:
    try:
        return folder.read_config()[0]
    except FileNotFoundError:
        raise ValueError(f"{folder.config} is missing, so nobody knows whether the experiment is the same") from None


def check_same(before: Experiment, now: Experiment, round_number: int) -> None:
    """Raise ValueError that names every key in which ``now`` differs from ``before`` so that the rest of the run would
    be another one. Rounds may be added or taken away after ``round_number``, the last that is done."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    differing = [
        f"{'.'.join(map(str, place))} is {_shown(mine)}, was {_shown(theirs)}"
        for place, theirs, mine in side_by_side(old, new)
        if theirs != mine
        and not any(place[: len(free)] == free for free in _FREE)
        and (
            place[:2] != ("training", "phases") or place[3:] != ("rounds",) or now.privacy
        )  # noise is for so many steps
    ]
    if not differing and now.training.num_rounds < round_number:
        differing = [
            f"training.phases has {number_of(now.training.num_rounds, 'round')}, but round {round_number} is done"
        ]
    if not differing:
        for number in range(1, round_number + 1):
            if plan_round(before.training, number).phase_index != plan_round(now.training, number).phase_index:
                differing = [f"training.phases puts round {number}, which is done, into another phase"]
                break
    if differing:
        raise ValueError(
            f"{now.run_folder} cannot be resumed with another experiment: {'; '.join(differing)}. "
            "Go on with the experiment in its config.yaml, or choose a new name"
        )


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextmanager
def writable(path: Path, advice: str = "make room or unlock it, or choose another output.folder") -> Iterator[None]:
    """Put in words what the operating system says about a folder that takes no file, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # what was half written is gone again, and its room is back
            free = shutil.disk_usage(path).free >> 10
            raise OSError(f"{FULL} ({path}: {free} KiB free): {advice}") from error
        if error.errno in _UNWRITABLE:
            raise OSError(f"the run folder {path} cannot be written: {error.strerror}; {advice}") from error
        raise
