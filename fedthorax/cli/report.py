"""``fedthorax report``: write a run's report again."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, near, print_json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/demo.")],
    as_json: JsonOption = False,
) -> None:
    """Write report.html of a run folder from its metrics.json.

    \b
    Example:
      fedthorax report runs/demo
    """
    if not (run / "metrics.json").is_file():
        raise FileNotFoundError(f"{run}: expected a run folder, but it has no metrics.json")
    from fedthorax.common.report import write_report

    write_report(run)
    path = run / "report.html"
    if as_json:
        print_json({"report": str(path.absolute())})
    else:
        typer.echo(f"report: {near(path)}")
