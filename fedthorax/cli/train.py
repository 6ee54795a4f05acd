"""``fedthorax train``: the comparison runs, without a federation."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.live import watched
from fedthorax.cli.outcome import tell_outcome
from fedthorax.cli.output import JsonOption, NameOption, OverwriteOption, SetOption, console, overrides
from fedthorax.common.config.load import load_experiment


def train(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment file.")],
    hospital: Annotated[
        str | None, typer.Option("--hospital", help="Train this hospital alone, instead of all in one pool.")
    ] = None,
    sets: SetOption = None,
    name: NameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train on the images of all hospitals in one pool, or of one hospital
    alone, with the same trainer: what a federation is compared with.

    \b
    Example:
      fedthorax train configs/demo.yaml --name demo-pooled
      fedthorax train configs/demo.yaml --hospital north --name demo-north
    """
    experiment = load_experiment(file, overrides(sets, name))
    if hospital is not None and hospital not in experiment.data.hospitals:
        raise ValueError(f"--hospital {hospital}: expected one of {', '.join(experiment.data.hospitals)}")
    from fedthorax.simulations.centralised import train as run_training

    with watched(experiment.run_folder / "events.jsonl", console(to_stderr=as_json)):
        outcome = run_training(experiment, hospital=hospital, overwrite=overwrite)
    tell_outcome(outcome.folder, as_json)
