"""``fedthorax stats``: what all hospitals hold, in numbers, with no image leaving."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, SetOption, console, near, print_json
from fedthorax.cli.quiet import import_tensorflow
from fedthorax.common.config.load import load_experiment


def stats(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment file.")],
    sets: SetOption = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with tables and plots too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask all hospitals of CONFIG for counts by finding, class, age, sex, size and
    scanner, for grey levels and for images that two of them hold. Counts of few
    patients are hidden at the hospital (data.privacy).

    \b
    Example:
      fedthorax stats configs/demo.yaml
      fedthorax stats configs/demo.yaml --html statistics.html --json
    """
    experiment = load_experiment(file, sets or ())
    if html is not None and not html.absolute().parent.is_dir():
        raise FileNotFoundError(f"{html}: the folder {near(html.absolute().parent)} does not exist; make it first")
    import_tensorflow()  # Flower's simulation imports it in any case, and would be loud
    from fedthorax.simulations.statistics import simulate_statistics

    with console(to_stderr=True).status(f"asking {len(experiment.data.hospitals)} hospitals"):
        gathered = simulate_statistics(experiment)
    document = gathered.document()
    if html is not None:
        from fedthorax.common.atomic_write import write_text
        from fedthorax.common.report.statistics import statistics_page

        write_text(html, statistics_page(document, experiment.name))
    if as_json:
        print_json(document)
        return
    from fedthorax.cli.statistics_lines import statistics_lines

    typer.echo("\n".join(statistics_lines(document)))
    if html is not None:
        typer.echo(f"page: {near(html)}")
