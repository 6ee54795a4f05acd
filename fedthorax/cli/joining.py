"""``fedthorax joining``: what joining the consortium is worth to each hospital."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, NameOption, SetOption, console, near, overrides, print_json
from fedthorax.common.config.load import load_experiment


def joining(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment file.")],
    leave_out: Annotated[
        bool, typer.Option("--leave-out/--no-leave-out", help="Also train without each hospital in turn.")
    ] = True,
    sets: SetOption = None,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train all hospitals of CONFIG together, each alone, and all without each
    in turn; compare the models on every hospital's test images.

    Writes runs/NAME-joining/joining.html: one page a hospital, what it gave and
    what it got. Runs that have finished are not run again: after a stop, the
    same command goes on.

    \b
    Example:
      fedthorax joining configs/demo.yaml
      fedthorax joining configs/demo.yaml --no-leave-out --json
    """
    experiment = load_experiment(file, overrides(sets, name))
    from fedthorax.common.metrics.scores import TASKS
    from fedthorax.common.report.joining import answer
    from fedthorax.simulations.joining.arms import Arm
    from fedthorax.simulations.joining.compare import compare_joining

    output = console(to_stderr=as_json)

    def began(number: int, count: int, arm: Arm) -> None:
        output.print(f"{number} of {count}: {arm.words}", style="bold", markup=False)

    folder, document = compare_joining(experiment, leave_out, began, sys.stderr if as_json else None)
    page = folder / "joining.html"
    if as_json:
        print_json({"folder": str(folder), "page": str(page), **document})
        return
    for task, words in TASKS:
        output.print(answer(document, task, words), markup=False)
    output.print(f"page: {near(page)}", markup=False, soft_wrap=True)
