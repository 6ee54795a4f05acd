"""``fedthorax predict``: what a model says about images without labels."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fedthorax.cli.files import image_files, model_file
from fedthorax.cli.output import JsonOption, console, print_json


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras model or a run folder (its best model).")],
    xray: Annotated[list[Path] | None, typer.Option("--xray", metavar="FILE|DIR", help="X-ray, or a folder.")] = None,
    ct: Annotated[list[Path] | None, typer.Option("--ct", metavar="FILE|DIR", help="CT slice, or a folder.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row an image pair.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Probabilities of the findings on X-rays and of the classes on CT slices.

    For research. This is not a medical device and must not guide treatment.

    \b
    Example:
      fedthorax predict runs/demo --xray chest.png --ct slice.png
      fedthorax predict runs/demo --xray xrays/ --ct slices/ --csv > scores.csv
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    if not xray and not ct:
        raise typer.BadParameter("give --xray, --ct or both")
    path = model_file(model)
    xrays, slices = image_files(xray or ()), image_files(ct or ())
    from fedthorax.common.training.predict import predict_files

    predictions = predict_files(path, xrays, slices)
    if as_json:
        print_json({"model": str(path), "predictions": predictions})
    elif as_csv:
        write_csv(predictions)
    else:
        output = console()
        for line in prediction_lines(predictions):
            output.print(line, markup=False, soft_wrap=True)


def write_csv(predictions: Sequence[dict[str, Any]]) -> None:
    """One row a prediction; a column is empty where its image was not given."""
    findings = list(dict.fromkeys(name for row in predictions for name in row.get("disease") or ()))
    classes = list(dict.fromkeys(name for row in predictions for name in row.get("cancer") or ()))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["xray", "ct", *findings, *classes])
    for row in predictions:
        disease, cancer = row.get("disease") or {}, row.get("cancer") or {}
        writer.writerow(
            [
                row.get("xray") or "",
                row.get("ct") or "",
                *(disease.get(name, "") for name in findings),
                *(cancer.get(name, "") for name in classes),
            ]
        )


def prediction_lines(predictions: Sequence[dict[str, Any]]) -> list[str]:
    """Probabilities by falling size, each image under its path."""
    lines = []
    for row in predictions:
        for kind, key in (("xray", "disease"), ("ct", "cancer")):
            if row.get(kind) and row.get(key):
                lines.append(str(row[kind]))
                ranked = sorted(row[key].items(), key=lambda item: -item[1])
                lines += [f"  {probability:6.3f}  {name}" for name, probability in ranked]
    return lines
