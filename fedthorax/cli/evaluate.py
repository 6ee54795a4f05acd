"""``fedthorax evaluate``: one model on one split of one site."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fedthorax.cli.files import model_file
from fedthorax.cli.output import JsonOption, SetOption, console, near, print_json, say
from fedthorax.cli.tables import duplicate_lines, score_lines
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.travelling import require_folders


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras model or a run folder (its best model).")],
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment file that names the images.")],
    split: Annotated[Literal["test", "valid"], typer.Option(help="Which split to score.")] = "test",
    site: Annotated[str, typer.Option(help="A hospital's name, or central for the server's folders.")] = "central",
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score MODEL on the images of one site of CONFIG.

    Test images that also stand in train or valid of the site, or that MODEL's
    run found at a hospital, are left out of the scores; the figures with them
    stand beside.

    \b
    Example:
      fedthorax evaluate runs/demo configs/demo.yaml
      fedthorax evaluate runs/demo configs/demo.yaml --site north --split valid
    """
    experiment = load_experiment(file, sets or ())
    sites = ("central", *experiment.data.hospitals)
    if site not in sites:
        raise ValueError(f"--site {site}: expected one of {', '.join(sites)}")
    path = model_file(model)
    require_folders(experiment, (site,))
    with console(to_stderr=True).status("loading TensorFlow and the model, then scoring"):
        from fedthorax.common.release.evaluate import evaluate_model

        done = evaluate_model(path, experiment, site, split)
    if as_json:
        facts = {"model": str(path), "site": site, "split": split, "scores": done.scores}
        print_json(facts | {"scores_with_duplicates": done.with_duplicates, "left_out": done.left_out})
        return
    lines = [f"{near(path)} on the {split} split of {site}", *score_lines(done.scores)]
    if done.with_duplicates is not None:
        lines += duplicate_lines(done.scores, done.with_duplicates, done.left_out)
    for line in lines:
        say(line)
