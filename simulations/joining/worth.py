"""What the models of all arms are worth on every hospital's test images: ``joining.json``, described in
docs/unequal-hospitals.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedthorax.common.config import Experiment
from fedthorax.common.metrics.cancer import cancer_scores
from fedthorax.common.metrics.disease import disease_scores
from fedthorax.common.training.compared import Truth, compared, joined, joined_predictions, mean_areas
from fedthorax.common.training.scoring import Predictions, scored_rows
from fedthorax.simulations.joining.predictions import ByModel

Verdict = Literal["helped", "harmed", "no difference shown", "cannot be told"]
TASKS = ("disease", "cancer")


@dataclass(frozen=True)
class Models:
    """Names of the models in the predictions: ``common``; by hospital ``alone``, ``own`` (what it uses after joining:
    fine-tuned, or the common one where that was better for it) and ``without``, compared with ``reference``."""

    common: str
    alone: Mapping[str, str]
    own: Mapping[str, str]
    without: Mapping[str, str]
    reference: str | None


def joining_figures(
    experiment: Experiment, truth: Mapping[str, Truth], predictions: ByModel, models: Models
) -> dict[str, Any]:
    """``hospitals`` by name and ``cross_site``."""
    sites = tuple(truth)
    return {
        "hospitals": {site: _hospital(experiment, truth, predictions, models, site) for site in sites},
        "cross_site": _cross_site(experiment, truth, predictions, models),
    }


def verdict(mean: Mapping[str, Any] | None) -> Verdict:
    """Of a paired difference of mean ROC-AUC: its 95 % interval decides."""
    interval = mean["difference"]["interval"] if mean else None
    if interval is None:
        return "cannot be told"
    if interval[0] > 0:
        return "helped"
    return "harmed" if interval[1] < 0 else "no difference shown"


def _hospital(
    experiment: Experiment, truth: Mapping[str, Truth], predictions: ByModel, models: Models, site: str
) -> dict[str, Any]:
    others = [other for other in truth if other != site]
    places = {"own": [site], "others": others}
    named = {"alone": models.alone[site], "common": models.common, "joined": models.own[site]}
    found: dict[str, Any] = {}
    for place, where in places.items():
        labels, of = _at(truth, where), {name: _on(predictions[model], where) for name, model in named.items()}
        against = compared(experiment, labels, of["joined"], of["alone"])
        found[place] = {
            "scores": {name: mean_areas(experiment, labels, values) for name, values in of.items()},
            "joined_less_alone": against,
            "common_less_alone": compared(experiment, labels, of["common"], of["alone"]),
            "joined_less_common": compared(experiment, labels, of["joined"], of["common"]),
            "verdict": {task: verdict(against[task]["mean"]) for task in TASKS},
        }
    return found | {"contribution": _contribution(experiment, truth, predictions, models, site, others)}


def _contribution(
    experiment: Experiment,
    truth: Mapping[str, Truth],
    predictions: ByModel,
    models: Models,
    site: str,
    others: Sequence[str],
) -> dict[str, Any] | None:
    """What the other hospitals' images say about the model with this hospital, less the one without it."""
    if models.reference is None or site not in models.without:
        return None
    labels = _at(truth, others)
    with_it, without_it = (_on(predictions[name], others) for name in (models.reference, models.without[site]))
    against = compared(experiment, labels, with_it, without_it)
    return {"with_less_without": against, "verdict": {task: verdict(against[task]["mean"]) for task in TASKS}}


def _cross_site(
    experiment: Experiment, truth: Mapping[str, Truth], predictions: ByModel, models: Models
) -> dict[str, dict[str, dict[str, float | None]]]:
    """By task, model (hospital that trained alone, or the common model as ``together``) and hospital that tests: the
    mean ROC-AUC over all labels of which both kinds are there, the same ones for every model."""
    rows = {**models.alone, "together": models.common}
    table: dict[str, dict[str, dict[str, float | None]]] = {task: {} for task in TASKS}
    for row, model in rows.items():
        for task in TASKS:
            table[task][row] = {
                site: _mean_area(experiment, task, truth[site], predictions[model][site]) for site in truth
            }
    return table


def _mean_area(experiment: Experiment, task: str, truth: Truth, predictions: Predictions) -> float | None:
    labels = experiment.labels
    if task == "disease":
        rows = scored_rows(predictions.disease)
        scores = disease_scores(truth.findings[rows], predictions.disease[rows], labels.findings, 0.5)
    else:
        rows = scored_rows(predictions.cancer)
        scores = cancer_scores(truth.classes[rows], predictions.cancer[rows], labels.cancer_classes)
    area: float | None = scores["macro"]["roc_auc"]
    return area


def _at(truth: Mapping[str, Truth], sites: Sequence[str]) -> Truth:
    return joined({site: truth[site] for site in sites})


def _on(predictions: Mapping[str, Predictions], sites: Sequence[str]) -> Predictions:
    return joined_predictions([predictions[site] for site in sites])
