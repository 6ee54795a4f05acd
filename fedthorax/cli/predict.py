"""``fedthorax predict``: what a model says about images without labels."""

import csv
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fedthorax.cli.files import image_files, model_file
from fedthorax.cli.output import JsonOption, console, print_json, require_place, say
from fedthorax.cli.tables import aligned, number
from fedthorax.common.ground.cells import plain_cells
from fedthorax.common.ground.wording import beside, number_of

_BELOW = "  the most probable class does not reach its threshold"
_NONE_CHOSEN = "  no threshold was chosen for whole examinations"


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, a .keras model or a packed .zip.")],
    xray: Annotated[
        list[Path] | None, typer.Option("--xray", metavar="FILE|DIR", help="X-ray, or a folder of them.")
    ] = None,
    ct: Annotated[
        list[Path] | None, typer.Option("--ct", metavar="FILE|DIR", help="CT slice, or a folder of them.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write Grad-CAM overlays of what is predicted, as PNG.")
    ] = None,
    all_maps: Annotated[bool, typer.Option("--all-maps", help="With --maps: of every finding and class.")] = False,
    site: Annotated[
        str | None, typer.Option(metavar="HOSPITAL", help="Use the calibration and thresholds of this hospital.")
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="CT slices in one folder are one examination, PNG and JPEG too.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row an image pair.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Calibrated probabilities of the findings on X-rays and of the classes on CT
    slices, with the model's thresholds and what its own test says of each.
    As many of each are paired in the order of their names; a single one goes
    with each of the others. A model trained with model.absent: token also
    takes X-rays alone or CT slices alone. Files that cannot be read are named,
    the others answered, and the exit status is then 2.

    For research. This is not a medical device and must not guide treatment.

    \b
    Example:
      fedthorax predict runs/demo --xray chest.png --ct slice.png --maps maps
      fedthorax predict runs/demo --xray xrays/ --ct slices/ --csv > scores.csv
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    if all_maps and maps is None:
        raise typer.BadParameter("--all-maps needs --maps DIR")
    if not xray and not ct:
        raise typer.BadParameter("give --xray, --ct, or both")
    path = model_file(model)
    require_place(maps and maps / "map.png", makes_folders=True)
    with console(to_stderr=True).status("loading TensorFlow and the model, then answering"):
        xrays, slices = image_files(xray or (), "xray"), image_files(ct or (), "ct")
        from fedthorax.common.release.predict import predict_files

        document = predict_files(path, xrays, slices, maps, all_maps, site, together)
    if as_json:
        print_json({"model": str(path), **document})
    elif as_csv:
        write_csv(document)
    else:
        for line in prediction_lines(document):
            say(line)
    if document["skipped"]:
        for row in document["skipped"]:
            typer.echo(f"skipped: {'; '.join(row['reasons'])}", err=True)
        total = len(document["skipped"]) + len(document["predictions"])
        typer.echo(f"{len(document['skipped'])} of {total} not answered", err=True)
        raise typer.Exit(2)


def write_csv(document: Mapping[str, Any]) -> None:
    """One row a pair: probabilities of findings and classes, what is predicted, what is odd, and the notice."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    predictions = document["predictions"]
    if predictions:
        labels = [*predictions[0]["disease"], *predictions[0]["cancer"]]
        writer.writerow(["xray", "ct", *labels, "predicted_findings", "predicted_class", "flags", "notice"])
    for row in predictions:
        predicted = row["predicted"]
        flags = [f"{modality} {flag}" for modality, found in row["flags"].items() for flag in found]
        asked = (row["xray"], row["ct"], *row["disease"].values(), *row["cancer"].values())
        said = ("; ".join(predicted["findings"]), predicted["cancer_class"], "; ".join(flags), document["notice"])
        writer.writerow(plain_cells([*asked, *said]))


def prediction_lines(document: Mapping[str, Any]) -> list[str]:
    """Probabilities by falling size below the two paths, ``*`` before what reaches its threshold. A series is told as
    one, and of its slices what is odd, and the maps."""
    whose = f"Thresholds and test are those of {document['site']}."
    lines = [document["notice"], *([whose] if document["site"] else [])]
    told: set[Any] = set()
    for series in document["examinations"]:
        rows = [row for row in document["predictions"] if row["ct"] in series["behind"]]
        told |= {*series["behind"]}
        if series["xray"] is not None:
            told |= {(series["xray"], row["ct"]) for row in rows}
            lines += _label_lines({**series, "flags": rows[0]["flags"]}, "xray", "disease", document)
            lines += [line for row in rows for line in _maps(row, "xray")]
        lines += _series_lines(series, document["tested_by_patient"])
        for row in rows:
            lines += [f"  {row['ct']}: {words.strip()}" for words in (*_flags(row, "ct"), *_maps(row, "ct"))]
    for row in document["predictions"]:
        if row["xray"] is not None and (row["xray"], row["ct"]) not in told:
            lines += _label_lines(row, "xray", "disease", document)
        if row["ct"] is not None and row["ct"] not in told:
            lines += _label_lines(row, "ct", "cancer", document)
    return lines


def _label_lines(row: Mapping[str, Any], modality: str, task: str, document: Mapping[str, Any]) -> list[str]:
    predicted = row["predicted"]["findings" if task == "disease" else "cancer_above_threshold"]
    table = [("", "", "threshold", "ROC-AUC in its test", "positive")]
    for name, probability in sorted(row[task].items(), key=lambda item: -item[1]):
        facts = document["labels"][task][name]
        table.append((name, *beside(probability, facts["threshold"]), *_record(facts)))
    lines = _marked(table, predicted)
    if task == "cancer" and row["predicted"]["cancer_class"] not in predicted:
        lines.append(_BELOW)
    return ["", row[modality], *_flags(row, modality), *lines, *_maps(row, modality)]


def _flags(row: Mapping[str, Any], modality: str) -> list[str]:
    from fedthorax.common.check.flags import FLAG_WORDS

    return [f"  look at it: {FLAG_WORDS[flag]} ({flag}, docs/check.md)" for flag in row["flags"][modality]]


def _maps(row: Mapping[str, Any], modality: str) -> list[str]:
    return [f"  map: {path}" for path in (row.get("maps") or {}).get(modality, {}).values()]


def _series_lines(row: Mapping[str, Any], tested: Mapping[str, Any] | None) -> list[str]:
    predicted, thresholds = row["predicted"], row["thresholds"]
    reached = predicted["cancer_above_threshold"] or ()
    table: list[tuple[str, ...]] = [("", "", "threshold")] if thresholds else []
    for name, probability in sorted(row["cancer"].items(), key=lambda item: -item[1]):
        told = beside(probability, thresholds[name]) if thresholds else (number(probability),)
        table.append((name, *told))
    below = [] if predicted["cancer_class"] in reached else [_BELOW if thresholds else _NONE_CHOSEN]
    words = "not tested by patient: no patient of the test is known to have several slices"
    if tested is not None:
        low_high = tested["roc_auc"]["interval"]
        interval = f" ({low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        words = f"ROC-AUC in the test by patient {number(tested['roc_auc']['value'])}{interval}"
        words += f", {number_of(tested['patients'], 'patient')}"
    return [
        "",
        f"{row['ct']}: {number_of(row['slices'], 'slice')} together ({row['rule']})",
        *_marked(table, reached),
        *below,
        f"  {words}",
        f"  speak most for {predicted['cancer_class']}:",
        *(f"    {ct}  {row['behind'][ct]:.3f}" for ct in row["speak_most"]),
    ]


def _marked(table: Sequence[tuple[str, ...]], reached: Collection[str]) -> list[str]:
    return [f"{'*' if row[0] in reached else ' '} {line}" for row, line in zip(table, aligned(table), strict=True)]


def _record(facts: Mapping[str, Any]) -> tuple[str, str]:
    """ROC-AUC with its interval, and positives, of the model's own test; too few positives have no interval."""
    evaluation = facts["evaluation"]
    if evaluation is None:
        return "not tested", "-"
    found = evaluation["roc_auc"]
    interval = found["interval"]
    text = number(found["value"])
    if evaluation.get("descriptive"):
        text += " (too few)"
    elif interval:
        text += f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return text, str(evaluation.get("support"))
