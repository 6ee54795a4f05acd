"""``fedthorax stats``: what all hospitals hold, in numbers, with no image leaving."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedthorax.cli.output import JsonOption, SetOption, console, near, print_json, require_place
from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.wording import number_of

if TYPE_CHECKING:
    from fedthorax.common.config import Experiment


def stats(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment file.")],
    sets: SetOption = None,
    consortium: Annotated[
        Path | None,
        typer.Option("--consortium", metavar="DIR", help="Ask the real hospitals of the consortium in DIR."),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with tables and plots too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask all hospitals of CONFIG for counts by finding, class, age, sex, size and
    scanner, for grey levels and for images that two of them hold. Counts of few
    patients are hidden at the hospital (data.privacy). No model is sent or made.

    Without --consortium the hospitals are simulated here, from the folders that
    CONFIG names. With it the server that runs in DIR asks its hospitals, as it
    does for a run; the answer also stays in DIR/statistics.

    \b
    Example:
      fedthorax stats configs/demo.yaml
      fedthorax stats chest.yaml --consortium thorax-network
      fedthorax stats configs/demo.yaml --html statistics.html --json
    """
    experiment = load_experiment(file, sets or ())
    require_place(html)
    document = _simulated(experiment) if consortium is None else _of_consortium(experiment, consortium)
    if html is not None:
        from fedthorax.common.ground.atomic_write import write_text
        from fedthorax.common.report.statistics import statistics_page

        write_text(html, statistics_page(document, experiment.name))
    if as_json:
        print_json(document)
        return
    from fedthorax.cli.statistics_lines import statistics_lines

    typer.echo("\n".join(statistics_lines(document)))
    if html is not None:
        typer.echo(f"page: {near(html)}")


def _simulated(experiment: "Experiment") -> dict[str, Any]:
    from fedthorax.simulations.simulate import simulate_statistics

    with console(to_stderr=True).status(f"asking {number_of(len(experiment.data.hospitals), 'hospital')}"):
        return simulate_statistics(experiment).document()


def _of_consortium(experiment: "Experiment", folder: Path) -> dict[str, Any]:
    from fedthorax.server.consortium.folder import open_consortium
    from fedthorax.server.consortium.query import ask_consortium
    from fedthorax.server.consortium.submit import for_consortium

    place, out = open_consortium(folder), console(to_stderr=True)

    def tell(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    with out.status(
        f"asking {number_of(len(experiment.data.hospitals), 'hospital')}; where a person has to agree, this waits"
    ):
        document, answer = ask_consortium(for_consortium(experiment, place), place, tell)
    tell(f"kept as {near(answer)}")
    return document
