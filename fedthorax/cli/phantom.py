"""``fedthorax phantom``: drawn images for trying things out."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fedthorax.cli.output import JsonOption, OverwriteOption, console, near, print_json
from fedthorax.cli.steps import counted
from fedthorax.cli.tables import count_lines


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, with one folder a hospital.")],
    hospitals: Annotated[int, typer.Option(min=1, help="Number of hospitals.")] = 3,
    patients: Annotated[int, typer.Option(min=4, help="Patients of a hospital, on average.")] = 60,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the images, in pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same images.")] = 0,
    overwrite: OverwriteOption = False,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Do nothing if OUT already holds exactly these images.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw chest X-rays and CT slices with planted findings and tumours, for
    some hospitals and a central test set.

    They look like medical images but show no patient.

    \b
    Example:
      fedthorax phantom data/demo --hospitals 3 --patients 60
    """
    from fedthorax.simulations.phantom import phantom_is_current, write_phantom

    facts: dict[str, Any] = {"hospitals": hospitals, "patients": patients, "image_size": size, "seed": seed}
    if if_needed and phantom_is_current(out, **facts):
        if as_json:
            print_json({"folder": str(out.absolute()), "written": False, "sites": None})
        else:
            typer.echo(f"already there: {near(out)}")
        return
    with counted(console(to_stderr=True), f"drawing into {near(out)}") as progress:
        summary = write_phantom(out, **facts, overwrite=overwrite or if_needed, progress=progress)
    if as_json:
        sites = {name: asdict(counts) for name, counts in summary.sites.items()}
        print_json({"folder": str(out.absolute()), "written": True, "sites": sites})
    else:
        typer.echo(f"wrote {near(out)}")
        typer.echo("\n".join(count_lines(summary.sites)))
