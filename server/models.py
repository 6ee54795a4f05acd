"""The models that a run leaves behind, and the facts beside them."""

from collections.abc import Callable

from fedthorax.common.config import Experiment
from fedthorax.common.messages.tasks import ModelFacts
from fedthorax.common.model.segments import Weights, weights_digest
from fedthorax.common.record.run import Run
from fedthorax.common.record.run_folder import RunFolder, package_versions
from fedthorax.common.release.model_facts import FORMAT, model_entry, write_model_facts
from fedthorax.common.training.network import Network
from fedthorax.server.checkpoints import Checkpoints

OwnModels = Callable[[str, str], Weights | None]  # (run, hospital) → segments of the hospital's own model


def model_facts(experiment: Experiment) -> ModelFacts:
    """What a model's outputs mean."""
    return ModelFacts(
        format=FORMAT,
        name=experiment.name,
        findings=experiment.labels.findings,
        cancer_classes=experiment.labels.cancer_classes,
        image_size=experiment.model.image_size,
        aspect=experiment.data.aspect,
        ct_windows=experiment.data.ct_windows,
        threshold=experiment.evaluation.threshold,
        absent=experiment.model.absent,
        views=experiment.evaluation.views,
        examination=experiment.evaluation.examination,
        augmentation=experiment.training.augmentation.model_dump(exclude={"enabled", "feature_versions"}),
        versions=package_versions(),
    )


def save_personal_models(
    experiment: Experiment,
    network: Network,
    best: Weights,
    run: Run,
    folder: RunFolder,
    own: OwnModels,
) -> None:
    """In a simulation: each hospital's own model as a model folder; in a consortium it is at the hospital."""
    facts = model_facts(experiment).model_dump()
    unselected = run.model_copy(update={"operating_points": None})  # they are the common model's
    for site in run.sites:
        weights = own(run.run, site)
        if weights is None:
            continue
        network.layout.write({**best, **weights})
        target = folder.personal(site)
        target.mkdir(parents=True, exist_ok=True)
        network.save(target / "model.keras")
        entry = model_entry(facts, unselected, run.best_round, weights_digest(network.layout.read()))
        write_model_facts(target, facts, {"model.keras": entry}, run)


def save_models(
    experiment: Experiment, network: Network, checkpoints: Checkpoints, run: Run, folder: RunFolder
) -> None:
    """``model/best.keras``, ``model/last.keras``, ``model.json`` that says what their outputs mean, and ``card.md``."""
    last_round = checkpoints.rounds()[-1]
    rounds = {"best": last_round if run.best_round is None else run.best_round, "last": last_round}
    facts, entries = model_facts(experiment).model_dump(), {}
    for kind, path in (("last", folder.last_model), ("best", folder.best_model)):
        weights = checkpoints.load(rounds[kind]).weights
        network.layout.write(weights)
        network.save(path)
        entries[path.name] = model_entry(facts, run, rounds[kind], weights_digest(weights))
    write_model_facts(folder.model, facts, entries, run)
