"""What a hospital keeps of a finished run: the models, and a report with the common figures and its own.

``results/NAME/`` is a run folder like any other: ``fedthorax report``, ``predict`` and ``evaluate`` take it.
``delivery.json`` says which run brought it.
"""

import json
from pathlib import Path
from typing import Any

from fedthorax.client.process import SiteProcess
from fedthorax.client.segment_store import LackingSegmentsError
from fedthorax.client.site.folder import SiteFolder
from fedthorax.common.config import Experiment
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.messages.message import Reply
from fedthorax.common.messages.replies import FinishReply
from fedthorax.common.messages.tasks import FinishTask
from fedthorax.common.model.segments import weights_digest
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.release.model_facts import model_entry, write_model_facts
from fedthorax.common.report import write_report


def keep_results(folder: SiteFolder, process: SiteProcess, task: FinishTask, experiment: Experiment) -> Reply:
    """Keep what a ``finish`` task brings; the reply only says that it is kept. ValueError where it is not whole."""
    names, facts = task.outcome.models, task.outcome.facts.model_dump()
    measured = task.outcome.metrics
    network = process.network(experiment)
    try:
        weights = process.worker.segments.complete(task, network.layout.sizes)
    except LackingSegmentsError as error:
        return FinishReply(site=task.site, round=task.round, lacking=error.segments, task_id=task.id)
    digest = weights_digest(weights)
    if task.model_sha256 and digest != task.model_sha256:
        raise ValueError("finish: the weights have another hash than the task says")
    at_home = process.worker.at_home(task, experiment, network, weights)
    network.layout.write(at_home)
    digest = weights_digest(at_home)
    path = results_folder(folder, experiment.name, task.run)
    with RunFolder.create(path) if not path.exists() else RunFolder.resume(path) as run:
        write_json(
            path / "delivery.json", {"run": task.run, "hospital": task.site}
        )  # first: this may be ended and come
        run.write_config(experiment, {"run": task.run, "hospital": task.site})  # again
        run.write_metrics(measured.model_dump(mode="json", exclude_unset=True))
        models = _known_models(run.model / "model.json")
        for name in names:
            target = run.model / f"{name}.keras"
            network.save(target)
            models[target.name] = model_entry(facts, measured, task.round, digest)
        if "best" in names and (own := process.worker.own.model(task.run, task.site)) is not None:
            network.layout.write(own)  # over the common model: of a hospital without CT it has no CT encoder
            target = run.model / "personal.keras"
            network.save(target)
            unselected = measured.model_copy(update={"operating_points": None})  # they are the common model's
            models[target.name] = model_entry(facts, unselected, task.round, weights_digest(network.layout.read()))
        write_model_facts(run.model, facts, models, measured)
        write_report(path)
    process.worker.masks.end(task, experiment)
    return FinishReply(site=task.site, round=task.round, task_id=task.id)


def results_folder(folder: SiteFolder, name: str, run: str) -> Path:
    """``results/NAME``, or ``results/NAME-RUN`` where another run of the same name lies there."""
    path = folder.results / name
    try:
        other = json.loads((path / "delivery.json").read_text(encoding="utf-8")).get("run") != run
    except (FileNotFoundError, ValueError):
        other = path.exists()
    return folder.results / f"{name}-{run[:12]}" if other else path


def kept_run(folder: SiteFolder, named: str) -> Path:
    """The folder of a finished run, by its own name or the run's id."""
    for delivery in folder.results.glob("*/delivery.json"):
        finished = (delivery.parent / "report.html").is_file()
        if finished and named in (delivery.parent.name, json.loads(delivery.read_text(encoding="utf-8"))["run"]):
            return delivery.parent
    raise FileNotFoundError(f"no finished run {named!r} here; see `fedthorax site results`")


def _known_models(path: Path) -> dict[str, Any]:
    try:
        models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["models"]
    except (FileNotFoundError, ValueError, KeyError):
        return {}
    return models
