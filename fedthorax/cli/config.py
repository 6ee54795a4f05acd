"""``fedthorax config``: the schema, or one file checked and resolved."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, SetOption, near, print_json
from fedthorax.common.config.describe import describe
from fedthorax.common.config.experiment import Experiment
from fedthorax.common.config.load import absolute, load_experiment, to_yaml
from fedthorax.common.ground.atomic_write import write_text


def config(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Experiment file to check.")] = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
    flower: Annotated[
        Path | None, typer.Option("--flower", metavar="OUT.toml", help="Also write the file that `flwr run` takes.")
    ] = None,
) -> None:
    """Show every key of an experiment file with its default and meaning, or
    check FILE and show it with all defaults filled in.

    \b
    Example:
      fedthorax config > my-experiment.yaml
      fedthorax config configs/demo.yaml --set training.learning_rate=3e-4
      fedthorax config configs/demo.yaml --flower run.toml
      flwr run . --run-config run.toml
    """
    if file is None:
        if sets or flower:
            raise typer.BadParameter("--set and --flower need a FILE")
        if as_json:
            print_json(Experiment.model_json_schema())
        else:
            typer.echo(describe(), nl=False)
        return
    experiment = load_experiment(file, sets or ())
    if flower is not None:
        write_flower_file(flower, absolute(experiment).model_dump_json())
        typer.echo(f"wrote {near(flower)}: flwr run . --run-config {near(flower)}", err=True)
    if as_json:
        print_json(experiment.model_dump(mode="json"))
    elif flower is None:
        typer.echo(to_yaml(experiment), nl=False)


def write_flower_file(path: Path, experiment_json: str) -> None:
    """A TOML file with the one key ``experiment``: Flower's run configuration holds plain values only.

    A JSON string literal is a valid basic string of TOML (https://toml.io/en/v1.0.0#string) once the delete
    character, which JSON leaves as it is, is escaped as well.
    """
    literal = json.dumps(experiment_json, ensure_ascii=False).replace("\x7f", "\\u007f")
    write_text(path, f"experiment = {literal}\n")
