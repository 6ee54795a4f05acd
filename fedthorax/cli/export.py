"""``fedthorax export``: a model for other software, or for another desk."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fedthorax.cli.files import image_files, model_file
from fedthorax.cli.output import JsonOption, console, near, print_json, require_place


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, a .keras model or a packed .zip.")],
    to: Annotated[Literal["zip", "savedmodel", "onnx", "tflite"], typer.Option("--to", help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to write; by default MODEL-TO, or MODEL.zip, here.")
    ] = None,
    xray: Annotated[
        list[Path] | None, typer.Option("--xray", metavar="FILE|DIR", help="Real X-rays to compare answers on.")
    ] = None,
    ct: Annotated[
        list[Path] | None, typer.Option("--ct", metavar="FILE|DIR", help="Real CT slices to compare answers on.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write MODEL as one zip that FedThorax opens, or for TensorFlow, ONNX or
    TFLite: calibrated, with model.json and card.md, compared with MODEL on
    images. What answers otherwise is not kept. ONNX needs fed-thorax[export].

    For research. This is not a medical device and must not guide treatment.

    \b
    Example:
      fedthorax export runs/demo --to zip
      fedthorax export runs/demo --to onnx --xray xrays/ --ct slices/
    """
    path = model_file(model)
    name = path.stem if path.suffix == ".zip" or not model.is_dir() else model.absolute().name
    target = out or Path(f"{name}.zip" if to == "zip" else f"{name}-{to}")
    require_place(target, makes_folders=True)
    with console(to_stderr=True).status("loading TensorFlow and the model, then writing and comparing it"):
        xrays, slices = image_files(xray or (), "xray"), image_files(ct or (), "ct")
        from fedthorax.common.release.export import export_model

        result = export_model(path, to, target, xrays, slices)
    if as_json:
        print_json(result)
        return
    if result["max_difference"] is not None:
        typer.echo(f"largest difference of a probability: {result['max_difference']:.2g}, on {result['checked_on']}")
    if to != "zip" and result["views"] > 1:
        console().print(
            f"note: it looks at one view of a pair; the thresholds are of means over {result['views']} views "
            "(evaluation.views), which the caller has to make as model.json says",
            markup=False,
        )
    typer.echo(f"model: {near(Path(result['path']))}")
