"""What this hospital lets the consortium ask: a task is measured against ``limits`` of site.yaml before it is begun."""

from collections.abc import Iterator
from typing import Any

from fedthorax.client.site.settings import Limits, SiteSettings
from fedthorax.common.config import Experiment
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.messages.message import Task
from fedthorax.common.messages.tasks import TrainTask


def refusals(task: Task, experiment: Experiment, settings: SiteSettings) -> list[str]:
    """Why the task is not done here, in words for the consortium's lead; empty where nothing speaks against it."""
    limits = settings.limits
    if task.site != settings.name:
        return ["the task is for another hospital"]
    kind = "train" if task.kind == "unmask" else task.kind
    if kind not in limits.tasks:
        return [f"the hospital does not allow the task {task.kind} (limits.tasks)"]
    if settings.name not in experiment.data.hospitals:
        return ["the experiment does not name this hospital"]
    federation = experiment.federation
    unmasked = limits.require_masking and not federation.secure_aggregation
    if unmasked and task.kind in ("describe", "train", "evaluate", "personalise"):
        return ["the hospital lets updates leave only masked (limits.require_masking)"]
    if limits.privacy is not None and task.kind in ("describe", "train"):
        if experiment.privacy is None:
            return ["the hospital takes part in runs that are private for its patients only (limits.privacy)"]
        if limits.privacy.mechanism == "local" and experiment.privacy.mechanism == "distributed":
            return ["the hospital's steps have to be private by themselves (limits.privacy.mechanism)"]
    if federation.secure_aggregation and federation.smallest_sum < limits.smallest_sum:
        return [
            f"the hospital helps to unmask sums of at least {limits.smallest_sum} hospitals (limits.smallest_sum), but "
            f"federation.smallest_sum is {federation.smallest_sum}"
        ]
    return [_above(*found) for found in _exceeded(task, experiment, limits)]


def _exceeded(task: Task, experiment: Experiment, limits: Limits) -> Iterator[tuple[str, str, float, float]]:
    """(what, the limit's key, its value, what was asked) of each limit that the experiment or the task exceeds."""
    training, model = experiment.training, experiment.model
    rates = [task.learning_rate] if isinstance(task, TrainTask) else []
    rates += [
        phase.highest_factor * (training.learning_rate if phase.learning_rate is None else phase.learning_rate)
        for phase in training.phases
    ]
    if experiment.privacy is not None:  # how far private steps move the model tells nothing more of anybody
        rates = [limits.max_learning_rate]
    passes = [phase.local_epochs for phase in training.phases]
    personal = experiment.personalisation
    if personal.fine_tune:
        passes.append(personal.epochs)
        rates.append(training.learning_rate if personal.learning_rate is None else personal.learning_rate)
        if "last_phase" in personal.fine_tune and personal.learning_rate is not None:  # else the rate of its phase
            rates.append(personal.learning_rate * training.phases[-1].highest_factor)
    units = max(model.encoder_units, model.feature_units, *model.fusion_units)
    most: tuple[tuple[str, str, float], ...] = (
        ("rounds", "max_rounds", training.num_rounds),
        ("epochs in a round", "max_local_epochs", max(passes)),
        ("learning rate", "max_learning_rate", max(rates)),
        ("batch_size", "max_batch_size", training.batch_size),
        ("batch_size of the evaluation", "max_batch_size", experiment.evaluation.batch_size),
        ("image_size", "max_image_size", model.image_size),
        ("units of a dense layer", "max_units", units),
        ("threads", "max_threads", training.threads or 1),
    )
    for what, key, asked in most:
        allowed = getattr(limits, key)
        if key == "max_threads" and allowed is None:
            allowed = num_cpus()
        if asked > allowed:
            yield what, key, allowed, asked
    if min(rates) < limits.min_learning_rate:
        yield "learning rate", "min_learning_rate", limits.min_learning_rate, min(rates)


def _above(what: str, key: str, allowed: float, asked: Any) -> str:
    side = "at least" if key.startswith("min_") else "at most"
    return f"the hospital allows {side} {allowed:g} {what} (limits.{key}), but {asked:g} was asked"
