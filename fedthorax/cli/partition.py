"""``fedthorax partition``: one collection dealt out to several hospitals."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from fedthorax.cli.output import JsonOption, console, counted, near, print_json, require_place, say
from fedthorax.cli.per_hospital import AnnotatesOption, WithoutOption, site_limits
from fedthorax.cli.tables import count_lines, label_lines
from fedthorax.common.ground.wording import number_of


def partition(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder to write, one folder a hospital.")],
    xray: Annotated[Path | None, typer.Option(metavar="DIR", help="X-rays with their label file.")] = None,
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help="The X-rays' labels, if elsewhere.")] = None,
    labels_format: Annotated[
        Literal["auto", "plain", "nih", "chexpert", "padchest", "mimic"],
        typer.Option("--format", metavar="NAME", help="auto, plain, nih, chexpert, padchest or mimic."),
    ] = "auto",
    further: Annotated[
        list[Path] | None,
        typer.Option(metavar="CSV", help="Table to join to the labels; may be repeated."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Which column of the labels is what (docs/labels.md).")
    ] = None,
    ct: Annotated[
        Path | None, typer.Option(metavar="DIR", help="CT slices, one folder a class or with a table.")
    ] = None,
    ct_labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Table of the CT slices: patients, classes.  [default: slices.csv]"),
    ] = None,
    ct_mapping: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Its columns, and `classes`: own name: name here or null.")
    ] = None,
    hospitals: Annotated[
        str | None, typer.Option(metavar="N|A,B,...", help="How many hospitals, or their names.  [default: 3]")
    ] = None,
    sizes: Annotated[str | None, typer.Option(metavar="A,B,...", help="Ratios of patients, one a hospital.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Skew the labels: Dirichlet parameter, smaller is worse.")] = None,
    size_alpha: Annotated[
        float | None, typer.Option(help="Skew the sizes: Dirichlet parameter, smaller is worse.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of the label file that names the hospital: site, view, sex, scanner, ...")
    ] = None,
    column_most: Annotated[
        bool, typer.Option("--column-most", help="A patient with several values goes where most images are.")
    ] = False,
    without: WithoutOption = None,
    annotates: AnnotatesOption = None,
    holdout_valid: Annotated[float, typer.Option(help="Share of the patients for central validation.")] = 0.0,
    holdout_test: Annotated[float, typer.Option(help="Share of the patients for the central test.")] = 0.0,
    ct_valid: Annotated[Path | None, typer.Option(metavar="DIR", help="CT slices for central validation.")] = None,
    ct_test: Annotated[Path | None, typer.Option(metavar="DIR", help="CT slices for the central test.")] = None,
    train_list: Annotated[
        Path | None, typer.Option(metavar="TXT", help="Names of the X-rays for hospitals, of a public split.")
    ] = None,
    test_list: Annotated[
        Path | None, typer.Option(metavar="TXT", help="Names of the X-rays for the central test.")
    ] = None,
    link: Annotated[Literal["copy", "hardlink", "symlink"], typer.Option(help="How images get there.")] = "copy",
    seed: Annotated[int, typer.Option(min=0, help="The same seed deals the same way.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Deal out one collection of X-rays and CT slices to several hospitals, by
    patient: evenly, or by --sizes, --size-alpha, --alpha or --column. A table and
    OUT/sites.png show what every site got.

    \b
    Example:
      fedthorax partition data/parts --xray nih --ct ct/train --sizes 3,2,1
      fedthorax partition data/skewed --xray nih --ct ct/train --alpha 0.5
      fedthorax partition data/parts --xray nih --ct ct/train --without north=ct
      fedthorax partition data/parts --xray nih --annotates south=Effusion,Mass
      fedthorax partition data/parts --xray chexpert --labels chexpert/train.csv
    """
    if sum(value is not None for value in (sizes, size_alpha, alpha, column)) > 1:
        raise typer.BadParameter("--sizes, --size-alpha, --alpha and --column exclude each other")
    from fedthorax.simulations.partition import PartitionPlan
    from fedthorax.simulations.partition import partition as deal_out
    from fedthorax.simulations.partition_input import LabelFile

    plan = PartitionPlan(
        out=out,
        xray=xray,
        xray_labels=labels,
        label_file=LabelFile(labels_format, mapping, tuple(further or ())),
        ct=ct,
        ct_labels=ct_labels,
        ct_mapping=ct_mapping,
        hospitals=_hospitals(hospitals),
        sizes=None if sizes is None else _numbers(sizes),
        alpha=alpha,
        column=column,
        column_most=column_most,
        size_alpha=size_alpha,
        limits=site_limits(without, annotates),
        seed=seed,
        holdout_valid=holdout_valid,
        holdout_test=holdout_test,
        ct_valid=ct_valid,
        ct_test=ct_test,
        train_list=train_list,
        test_list=test_list,
        link=link,
    )
    require_place(out, makes_folders=True)
    with counted(console(to_stderr=True), f"reading, then writing {near(out)}") as progress:
        summary = deal_out(plan, progress)
    if as_json:
        sites = {name: asdict(counts) for name, counts in summary.sites.items()}
        print_json({"folder": str(out.absolute()), "sites": sites, "notes": list(summary.notes)})
        return
    typer.echo(f"wrote {near(out)}: {number_of(summary.num_images, 'image')}")
    labels_of_sites = label_lines(summary.sites)
    lines = [*count_lines(summary.sites), *([""] * bool(labels_of_sites)), *labels_of_sites]
    typer.echo("\n".join(lines))
    for note in summary.notes:
        console().print(f"note: {note}", markup=False)
    say(f"plot: {near(out / 'sites.png')}")


def _hospitals(text: str | None) -> int | tuple[str, ...] | None:
    if text is None:
        return None
    return int(text) if text.isdecimal() else tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--sizes {text}: expected numbers with commas between them, such as 3,2,1") from None
