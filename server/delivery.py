"""What a hospital gets when the run is over: the best and the last model, and what the run measured about it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fedthorax.common.messages.tasks import FinishTask, Outcome
from fedthorax.common.record.run import Run, read_run
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.held_segments import named_model
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.models import model_facts

_TASKS = ("disease", "cancer", "examination")
_POOLED = ("present", "absent", "roc_auc", "pr_auc", "calibration_error")
_OF_ONE = "of one other hospital, whose figures these would show"


def deliver(hospitals: Hospitals, checkpoints: Checkpoints, names: Sequence[str]) -> list[str]:
    """Give the hospitals ``names`` the best and the last model and their results; returns those that took all of it.

    Who does not is a failure of the newest round, and can be served later (late_delivery.py).
    """
    record, experiment = hospitals.record, hospitals.experiment
    last_round = record.newest_round
    best_round = last_round if record.document["best_round"] is None else record.document["best_round"]
    names_of: dict[int, tuple[Literal["best", "last"], ...]] = {best_round: ("best",), last_round: ("last",)}
    if best_round == last_round:
        names_of = {last_round: ("best", "last")}  # sent once
    facts = model_facts(experiment)
    served = list(names)
    for number, models in names_of.items():
        model = named_model(checkpoints.load(number).weights)
        tasks = [
            hospitals.task(
                FinishTask,
                site,
                number,
                **model,
                outcome=Outcome(models=models, facts=facts, metrics=own_results(record.document, site)),
            )
            for site in served  # who did not take one model is not waited for again
        ]
        took = set()
        for reply in hospitals.replies(tasks, lambda: True):
            took.add(reply.site)
            hospitals.audit.append(
                "models delivered", site=reply.site, models=list(models), model_sha256=model["model_sha256"]
            )
        served = [name for name in served if name in took]
    if rest := [name for name in names if name not in served]:
        command = f"fedthorax run --deliver {experiment.name}"
        hospitals.events.emit(
            "note", text=f"without models and report: {', '.join(rest)}; once they are back: {command}"
        )
    return served


def own_results(document: Mapping[str, Any], site: str) -> Run:
    """The record of a finished run as one hospital may see it: the common figures and its own, no other hospital's.

    Not even as a comparison with its own, nor together with its own: of two hospitals, the others are the other.
    """

    def own(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [entry for entry in entries if entry["site"] == site]

    rounds = [
        {
            **entry,
            "sites": {site: entry["sites"][site]},
            **{name: own(entry[name]) for name in ("failures", "late", "warnings")},
        }
        for entry in document["rounds"]
    ]

    def not_of_one(of_task: Mapping[str, Any], kept: Sequence[str], **instead: Any) -> dict[str, Any]:
        """By label; without what is of this hospital and a single other one, who would be the difference."""
        return {
            name: {**found, **dict.fromkeys(kept), **instead} if len({*found["hospitals"]} - {site}) == 1 else found
            for name, found in of_task.items()
        }

    pooled, points, privacy = (document.get(name) for name in ("pooled", "operating_points", "privacy"))
    if pooled:
        tasks = {task: not_of_one(pooled[task], _POOLED, reason=_OF_ONE) for task in ("disease", "cancer")}
        pooled = {**pooled, **tasks, "by_site": None}
    if points:
        tasks = {task: not_of_one(points[task], ("positives", "negatives")) for task in points if task in _TASKS}
        points = {**points, **tasks}
    if privacy:
        steps = {
            name: {other: one for other, one in privacy[name].items() if other == site}
            for name in ("steps_taken", "spent")
        }
        privacy = {**privacy, **steps}
    left_out = [entry for entry in document["central"]["left_out"] if entry["same_as_site"] == site]
    mine = {
        **document,
        "status": "finished",
        "sites": {site: document["sites"][site]},
        "statistics": None,
        "pooled": pooled,
        "operating_points": points,
        "privacy": privacy,
        "central": {**document["central"], "left_out": left_out},
        "rounds": rounds,
    }
    return read_run(mine)
