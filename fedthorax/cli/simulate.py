"""``fedthorax simulate``: all hospitals of an experiment on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.live import watched
from fedthorax.cli.outcome import tell_outcome
from fedthorax.cli.output import (
    JsonOption,
    LeaveOutOption,
    NameOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    console,
    overrides,
)
from fedthorax.common.config.load import load_experiment


def simulate(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment file.")],
    sets: SetOption = None,
    name: NameOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    leave_out: LeaveOutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train all hospitals of CONFIG together, on this machine, through Flower.

    \b
    Example:
      fedthorax simulate configs/demo.yaml --name first-try
      fedthorax simulate configs/demo.yaml --set model.image_size=96 --overwrite
      fedthorax simulate configs/demo.yaml --resume
    """
    experiment = load_experiment(file, overrides(sets, name))
    from fedthorax.simulations.simulate import simulate as run_simulation

    with watched(experiment.run_folder / "events.jsonl", console(to_stderr=as_json)):
        outcome = run_simulation(experiment, overwrite=overwrite, resume=resume, leave_out=leave_out or ())
    tell_outcome(outcome.folder, as_json)
