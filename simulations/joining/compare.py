"""Did joining pay? All arms, their models on every hospital's test images, and the page that says so."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fedthorax import __version__
from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute
from fedthorax.common.config.travelling import require_local
from fedthorax.common.ground.atomic_write import write_json, write_text
from fedthorax.common.ground.strict_json import plain_value
from fedthorax.common.record.run import Run
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.report.joining import joining_page
from fedthorax.simulations.joining.arms import SHARE_OF_ROUNDS, Arm, Plan, finished, plan_arms, run_arm

SCHEMA_VERSION = 1
Began = Callable[[int, int, Arm], None]  # (number, of how many, the arm that begins)


def compare_joining(
    experiment: Experiment,
    leave_out: bool = True,
    began: Began = lambda number, count, arm: None,
    output: IO[str] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Run what has not been run yet below ``output.folder/NAME-joining``, and write ``joining.json`` and
    ``joining.html`` there; returns the folder and the content of the first.

    ``leave_out``: also train without each hospital in turn. Raises what ``run_arm`` raises, and ValueError.
    """
    experiment = absolute(experiment)
    require_local(experiment, experiment.data.hospitals)
    folder = experiment.output.folder / f"{experiment.name}-joining"
    plan = plan_arms(experiment, folder, leave_out)
    runs: dict[str, Run] = {}
    for number, arm in enumerate(plan.arms, 1):
        done = finished(arm)
        if done is None:
            began(number, len(plan.arms), arm)
            done = run_arm(arm, output)
        runs[arm.name] = done
    document = _document(experiment, plan, runs)
    write_json(folder / "joining.json", document)
    write_text(folder / "joining.html", joining_page(document))
    return folder, document


def _document(experiment: Experiment, plan: Plan, runs: dict[str, Run]) -> dict[str, Any]:
    from fedthorax.simulations.joining.worth import (  # TensorFlow, after the other processes
        Models,
        joining_figures,
        score_models,
    )

    together = RunFolder.load(plan.together.folder)
    files = {arm.name: RunFolder.load(arm.folder).best_model for arm in plan.arms}
    told = runs[plan.together.name]
    kept = {name: site.personal.kept if site.personal else None for name, site in told.sites.items()}
    own = {}
    for site in experiment.data.hospitals:
        own[site] = plan.together.name
        if kept[site] is not None:
            own[site] = f"own of {site}"
            files[own[site]] = together.personal(site) / "model.keras"
    scored = score_models(experiment, files)
    models = Models(
        plan.together.name,
        {site: arm.name for site, arm in plan.alone.items()},
        own,
        {site: arm.name for site, arm in plan.without.items()},
        plan.reference.name if plan.reference is not None else None,
    )
    figures = joining_figures(experiment, scored.truth, scored.predictions, models)
    pairs = {site: data.pairs if data else 0 for site, data in told.passports.items()}
    for site, entry in figures["hospitals"].items():
        entry |= {
            "images": scored.counts[site],
            "test_images_left_out": scored.left_out[site],
            "share_of_pairs": pairs[site] / sum(pairs.values()) if sum(pairs.values()) else None,
            "kept": kept[site],
        }
    return plain_value(
        {
            "schema_version": SCHEMA_VERSION,
            "name": experiment.name,
            "software_version": __version__,
            "seed": experiment.seed,
            "labels": {
                "findings": list(experiment.labels.findings),
                "cancer_classes": list(experiment.labels.cancer_classes),
            },
            "rounds": experiment.training.num_rounds,
            "leaving_out": None
            if not plan.without
            else "exact"
            if plan.exact
            else f"1/{SHARE_OF_ROUNDS} of the rounds",
            "runs": {arm.name: {"folder": arm.folder.name, "hospital_alone": arm.alone} for arm in plan.arms},
            **figures,
        },
        "joining",
    )
