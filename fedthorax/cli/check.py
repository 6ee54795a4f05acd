"""``fedthorax check``: what is wrong with a hospital's data, before anybody trains on them."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from fedthorax.cli.output import JsonOption, console, counted, near, print_json, require_place
from fedthorax.common.ground.wording import number_of


def check(
    path: Annotated[Path, typer.Argument(metavar="FOLDER|FILE.yaml", help="Images, a site.yaml or an experiment.")],
    site: Annotated[
        str | None, typer.Option("--site", metavar="NAME", help="Only this site of the experiment.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if there is a warning.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Also write one page with thumbnails.")
    ] = None,
    fix_splits: Annotated[
        Path | None,
        typer.Option("--fix-splits", metavar="OUT.csv", help="Also write a split that tears nothing apart."),
    ] = None,
    modality: Annotated[Literal["xray", "ct"], typer.Option(help="What images without labels are.")] = "xray",
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Where to remember images.  [default: ~/.cache]")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Remember nothing on disk.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the images, labels and splits of a hospital: unreadable files,
    copies across train and test, patients on two sides, sideways or inverted
    pictures, shortcuts. Nothing is changed. Exit status: 2 if there are
    errors that the experiment does not accept, 1 if there are warnings and
    --strict, else 0.

    \b
    Example:
      fedthorax check /data/ct
      fedthorax check site.yaml --html check.html --fix-splits splits.csv
      fedthorax check configs/demo.yaml --site north --json
    """
    if cache is not None and no_cache:
        raise typer.BadParameter("--cache and --no-cache exclude each other")
    for place in (html, fix_splits):
        require_place(place)
    from fedthorax.cli.check_text import text
    from fedthorax.common.check.check import check_site
    from fedthorax.common.check.facts_store import FactsStore, default_folder
    from fedthorax.common.check.summary import exit_status, to_json
    from fedthorax.common.check.target import targets_of

    started = time.monotonic()
    targets = targets_of(path, site, modality)
    if fix_splits is not None and len(targets) > 1:
        raise ValueError(
            f"--fix-splits: a split is one site's; name one of {', '.join(t.name for t in targets)} by --site"
        )
    checks = []
    with FactsStore(None if no_cache else cache or default_folder()) as store:
        for target in targets:
            with counted(console(to_stderr=True), f"checking {target.name}") as progress:
                checks.append(check_site(target, store, progress))
    seconds = time.monotonic() - started
    if as_json:
        print_json(to_json(checks, seconds))
    else:
        typer.echo(text(checks))
    if fix_splits is not None:
        from fedthorax.common.records.split_file import write_split_file

        rows = checks[0].fixed_split_rows()
        write_split_file(fix_splits, rows)
        typer.echo(
            f"wrote {near(fix_splits)}: {number_of(len(rows), 'image')}; name it under splits: beside xray and ct",
            err=True,
        )
    if html is not None:
        from fedthorax.common.check.page import write_page

        write_page(html, checks)
        typer.echo(f"wrote {near(html)}: it holds patients' images and must stay at the hospital", err=True)
    if status := exit_status(checks, strict):
        raise typer.Exit(status)
