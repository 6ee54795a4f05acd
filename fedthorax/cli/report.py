"""``fedthorax report``: write a run's report again, or set runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, near, print_json, require_place


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folder, such as runs/demo.")],
    compare: Annotated[bool, typer.Option("--compare", help="Compare the runs with the first on its test.")] = False,
    out: Annotated[Path, typer.Option(metavar="FILE", help="With --compare: the page to write.")] = Path(
        "comparison.html"
    ),
    as_json: JsonOption = False,
) -> None:
    """Write report.html of a run folder from its metrics.json; with --compare, one
    page that sets runs side by side, tested on the same patients.

    \b
    Example:
      fedthorax report runs/demo
      fedthorax report --compare runs/demo runs/pooled --out comparison.html
    """
    for run in runs:
        if not (run / "metrics.json").is_file():
            raise FileNotFoundError(f"{run}: expected a run folder, but it has no metrics.json")
    if compare:
        require_place(out)
        from fedthorax.common.report.comparison import write_comparison

        written = [write_comparison(runs, out)]
    else:
        from fedthorax.common.report import write_report

        for run in runs:
            write_report(run)
        written = [run / "report.html" for run in runs]
    if as_json:
        print_json({"report": str(written[0].absolute())})
    else:
        for path in written:
            typer.echo(f"report: {near(path)}")
