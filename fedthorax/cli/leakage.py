"""``fedthorax leakage``: attacks on a model, or on one update, and what they found."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, NameOption, SetOption, console, counted, near, overrides, print_json, say
from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute, load_experiment

CanariesOption = Annotated[
    int, typer.Option("--canaries", min=0, help="Patients who do not exist, for the audit; 0: none is made.")
]


def leakage(
    source: Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="Run folder of a simulation, or a file.")],
    canaries: CanariesOption = 200,
    sets: SetOption = None,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attack the model of a finished simulation, or models trained here as an
    experiment file says: who was in the training, what one update tells.

    Writes leakage.html and leakage.json into runs/NAME-leakage. Runs that have
    finished are not run again: after a stop, the same command goes on.

    \b
    Example:
      fedthorax leakage configs/real.yaml
      fedthorax leakage runs/real
    """
    from fedthorax.common.config.data import CENTRAL
    from fedthorax.common.config.travelling import require_local
    from fedthorax.common.record.run_folder import RunFolder

    if source.is_dir():
        if sets or name:
            raise ValueError(f"{source} is a run, which has its settings; --set and --name are for experiment files")
        run = RunFolder.load(source)
        experiment, model, folder = run.read_config()[0], run.best_model, source
    else:
        experiment = absolute(load_experiment(source, overrides(sets, name)))
        model, folder = None, experiment.run_folder
    require_local(experiment, experiment.data.hospitals)
    sites = [*experiment.data.hospitals, *([CENTRAL] if experiment.data.central else [])]
    attack(experiment, sites, folder.with_name(f"{folder.absolute().name}-leakage"), model, canaries, as_json)


def attack(
    experiment: Experiment, sites: list[str], folder: Path, model: Path | None, canaries: int, as_json: bool
) -> None:
    """Make all attacks under a progress bar, and say what they found."""
    from fedthorax.common.leakage.measure import measure
    from fedthorax.common.leakage.page import answers

    with counted(console(to_stderr=True), "leakage") as bar:
        found = measure(experiment, sites, folder, model, canaries, bar, lambda text: say(text, to_stderr=True))
    if as_json:
        print_json({"folder": str(folder), "page": str(folder / "leakage.html"), **found.model_dump(mode="json")})
        return
    for line in answers(found):
        say(line)
    say(f"page: {near(folder / 'leakage.html')}")
