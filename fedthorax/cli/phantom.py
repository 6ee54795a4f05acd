"""``fedthorax phantom``: drawn images for trying things out."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, OverwriteOption, console, counted, near, print_json
from fedthorax.cli.per_hospital import AnnotatesOption, WithoutOption, site_limits
from fedthorax.cli.tables import count_lines, label_lines


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, with one folder a hospital.")],
    hospitals: Annotated[int, typer.Option(min=1, help="Number of hospitals.")] = 3,
    patients: Annotated[int, typer.Option(min=4, help="Patients of a hospital, on average.")] = 90,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the images, in pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same images.")] = 0,
    shift: Annotated[
        float, typer.Option(min=0, max=5, help="How unlike their machines are: 0 alike, 1 usual, 2 twice as far.")
    ] = 1.0,
    shift_in: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Only in these: contrast, noise, resolution, markers, format."),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Skew the labels: Dirichlet parameter, smaller is worse.")] = None,
    size_alpha: Annotated[
        float | None, typer.Option(help="Skew the sizes: Dirichlet parameter, smaller is worse.")
    ] = None,
    without: WithoutOption = None,
    annotates: AnnotatesOption = None,
    overwrite: OverwriteOption = False,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Do nothing if OUT already holds exactly these images.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw chest X-rays and CT slices with planted findings and tumours, for
    some hospitals and a central test set.

    They look like medical images but show no patient. A table and OUT/sites.png
    show what every site got.

    \b
    Example:
      fedthorax phantom data/demo --hospitals 3 --patients 90
      fedthorax phantom data/shifted --shift 2 --shift-in contrast,noise
      fedthorax phantom data/unequal --alpha 0.3 --without north=ct
    """
    from fedthorax.simulations.phantom import Variety, phantom_arguments, phantom_is_current, write_phantom

    aspects = Variety().aspects if shift_in is None else tuple(part.strip() for part in shift_in.split(","))
    variety = Variety(shift, aspects, alpha, size_alpha, site_limits(without, annotates))
    arguments = phantom_arguments(hospitals, patients=patients, image_size=size, seed=seed, variety=variety)
    if if_needed and phantom_is_current(out, arguments):
        if as_json:
            print_json({"folder": str(out.absolute()), "written": False, "sites": None})
        else:
            typer.echo(f"already there: {near(out)}")
        return
    with counted(console(to_stderr=True), f"drawing into {near(out)}") as progress:
        summary = write_phantom(out, arguments, overwrite=overwrite or if_needed, progress=progress)
    if as_json:
        sites = {name: asdict(counts) for name, counts in summary.sites.items()}
        print_json({"folder": str(out.absolute()), "written": True, "sites": sites})
    else:
        typer.echo(f"wrote {near(out)}")
        typer.echo(
            "\n".join(
                [*count_lines(summary.sites), "", *label_lines(summary.sites), f"plot: {near(out / 'sites.png')}"]
            )
        )
