"""``fedthorax look``: what the model will see of a folder, as one picture."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fedthorax.cli.output import JsonOption, OverwriteOption, console, counted, near, print_json, require_place
from fedthorax.common.ground.wording import number_of


def look(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images in any depth, or one file.")],
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="Picture to write.")] = Path("look.png"),
    modality: Annotated[
        Literal["auto", "xray", "ct"], typer.Option(help="auto: what the files say of themselves.")
    ] = "auto",
    size: Annotated[int | None, typer.Option(min=16, max=1024, help="Side of each image.  [default: 224]")] = None,
    columns: Annotated[int, typer.Option(min=1, max=64, help="Images in a row.")] = 8,
    limit: Annotated[int, typer.Option(min=1, max=4096, help="Images at most; of more, every n-th.")] = 64,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="YAML", help="Experiment whose size, windows and slices to use.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the images of a folder as the model will see them: decoded, in
    their windows, resized, with file names. Files that cannot be used are
    shown with the reason.

    The picture shows patients: keep it where the images are kept.

    \b
    Example:
      fedthorax look data/demo/north/xray
      fedthorax look ct/ --modality ct --size 128 --columns 12 --out ct.png
    """
    if out.exists() and not overwrite:
        raise FileExistsError(f"{near(out)} exists; name another file with --out, or give --overwrite")
    require_place(out)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder or file")
    if folder.suffix.lower() in (".yaml", ".yml"):
        raise ValueError(f"{folder}: expected a folder of images or one image; an experiment is named with --config")
    from fedthorax.common.check.contact_sheet import draw_sheet, look_at
    from fedthorax.common.config.data import CT_WINDOWS, CtSlices
    from fedthorax.common.config.load import load_experiment
    from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes

    experiment = load_experiment(config) if config is not None else None
    windows = experiment.data.ct_windows if experiment else CT_WINDOWS
    policy = experiment.data.ct_slices if experiment else CtSlices()
    aspect: Literal["pad", "squash"] = experiment.data.aspect if experiment else "squash"
    side = size or (experiment.model.image_size if experiment else 224)
    with counted(console(to_stderr=True), f"looking at {near(folder)}") as progress:
        looked = look_at(folder, modality, side, aspect, limit, windows, policy, progress)
    if not looked.tiles:
        raise FileNotFoundError(f"{near(folder)}: holds no PNG, JPEG, DICOM or NIfTI file")
    write_bytes(out, (draw_sheet(looked.tiles, side, columns),), PRIVATE)
    refused = [(tile.name, tile.picture) for tile in looked.tiles if isinstance(tile.picture, str)]
    if as_json:
        print_json(
            {
                "picture": str(out.absolute()),
                "shown": [tile.name for tile in looked.tiles],
                "images": looked.total,
                "not_used": [{"file": name, "reason": reason} for name, reason in refused],
            }
        )
        return
    typer.echo(
        f"wrote {near(out)}: {len(looked.tiles)} of {number_of(looked.total, 'image')}, {len(refused)} of them not used"
    )
    for name, reason in refused:
        typer.echo(f"  {name}: {reason}")
