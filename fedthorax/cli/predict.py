"""``fedthorax predict``: what a model says about images without labels."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fedthorax.cli.files import image_files, model_file
from fedthorax.cli.output import JsonOption, console, print_json
from fedthorax.cli.quiet import import_tensorflow


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras model or a run folder (its best model).")],
    xray: Annotated[
        list[Path] | None, typer.Option("--xray", metavar="FILE|DIR", help="X-ray, or a folder of them.")
    ] = None,
    ct: Annotated[
        list[Path] | None, typer.Option("--ct", metavar="FILE|DIR", help="CT slice, or a folder of them.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row an image pair.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Probabilities of the findings on X-rays and of the classes on CT slices.
    As many of each are paired in the order of their names; a single one goes
    with each of the others. A model trained with model.absent: token also
    takes X-rays alone or CT slices alone.

    For research. This is not a medical device and must not guide treatment.

    \b
    Example:
      fedthorax predict runs/demo --xray chest.png --ct slice.png
      fedthorax predict runs/demo --xray xrays/ --ct slices/ --csv > scores.csv
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    if not xray and not ct:
        raise typer.BadParameter("give --xray, --ct, or both")
    path = model_file(model)
    xrays, slices = image_files(xray or [], "xray"), image_files(ct or [], "ct")
    import_tensorflow()
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
    """One row a pair, the findings' columns before the classes'."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if predictions:
        writer.writerow(["xray", "ct", *predictions[0]["disease"], *predictions[0]["cancer"]])
    for row in predictions:
        writer.writerow([row["xray"], row["ct"], *row["disease"].values(), *row["cancer"].values()])


def prediction_lines(predictions: Sequence[dict[str, Any]]) -> list[str]:
    """Probabilities by falling size below the two paths; ``*`` marks what the model predicts."""
    lines = []
    for row in predictions:
        findings, cancer_class = row["predicted"]["findings"], row["predicted"]["cancer_class"]
        for path, probabilities, predicted in (
            (row["xray"], row["disease"], findings),
            (row["ct"], row["cancer"], [cancer_class]),
        ):
            if path is None:
                continue
            lines.append(str(path))
            for name, probability in sorted(probabilities.items(), key=lambda item: -item[1]):
                lines.append(f"  {probability:.3f} {'*' if name in predicted else ' '} {name}")
    return lines
