"""What the models of all arms are worth on every hospital's test images: ``joining.json``, described in
docs/unequal-hospitals.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedthorax.common.config import Experiment
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.hospital.overlap import shared_images, without
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.scores import Task
from fedthorax.common.model.segments import SegmentLayout
from fedthorax.common.records.records import SPLITS, Split
from fedthorax.common.release.saved_model import load_saved_model
from fedthorax.common.training.compared import compared, joined, joined_predictions, mean_areas
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.runtime import prepare_tensorflow
from fedthorax.common.training.scoring import Predictions, Truth, in_use, predict

ByModel = Mapping[str, Mapping[str, Predictions]]


@dataclass(frozen=True)
class Scored:
    """``truth`` by hospital; ``predictions`` by model, then by hospital; ``left_out`` counts test images that a
    hospital trains or validates on; ``counts`` images by hospital, split and modality."""

    truth: dict[str, Truth]
    predictions: dict[str, dict[str, Predictions]]
    left_out: dict[str, int]
    counts: dict[str, dict[Split, dict[str, int]]]


def score_models(experiment: Experiment, models: Mapping[str, Path]) -> Scored:
    """The model files ``models`` by name, each on the test split of all hospitals.

    A test image that any hospital trains or validates on is left out everywhere: to some model it would be known.
    """
    prepare_tensorflow(experiment.training.threads)  # before the models, which start TensorFlow
    data = experiment.data
    sites = {name: load_hospital(experiment, name) for name in data.hospitals}
    tests, left_out = _new_to_all(sites)
    # The stored weights replace the starting ones, so no pretrained file is needed.
    network = Network(experiment.model_copy(update={"model": experiment.model.model_copy(update={"weights": "none"})}))
    store = FeatureStore(network, data.cache.folder)
    seeds = {site: derive_seed(experiment.seed, "evaluation pairs", site, "test") for site in tests}
    predictions: dict[str, dict[str, Predictions]] = {}
    for name, file in models.items():
        network.layout.write(SegmentLayout(load_saved_model(file).model).read())
        predictions[name] = {
            site: predict(network, store, test, seeds[site], repeats=in_use(experiment))[0]
            for site, test in tests.items()
        }
    counts = {
        name: {split: {"xray": len(images.xray), "ct": len(images.ct)} for split, images in site.splits.items()}
        for name, site in sites.items()
    }
    return Scored({site: Truth.of(test) for site, test in tests.items()}, predictions, left_out, counts)


def _new_to_all(sites: Mapping[str, SiteImages]) -> tuple[dict[str, SplitImages], dict[str, int]]:
    others = [site.splits[split] for site in sites.values() for split in SPLITS if split != "test"]
    seen = {kind: [digest for split in others for digest in split.of(kind).digests] for kind in ("xray", "ct")}
    tests, left_out = {}, {}
    for name, site in sites.items():
        test = site.splits["test"]
        xray, ct = shared_images(test.xray, seen["xray"]), shared_images(test.ct, seen["ct"])
        tests[name] = SplitImages(without(test.xray, xray), without(test.ct, ct))
        left_out[name] = len(xray) + len(ct)
    return tests, left_out


Verdict = Literal["helped", "harmed", "no difference shown", "cannot be told"]
TASKS: tuple[Task, ...] = ("disease", "cancer")


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


def _mean_area(experiment: Experiment, task: Task, truth: Truth, predictions: Predictions) -> float | None:
    area: float | None = head_scores(truth.answers(experiment.labels, predictions)[task])["macro"]["roc_auc"]
    return area


def _at(truth: Mapping[str, Truth], sites: Sequence[str]) -> Truth:
    return joined({site: truth[site] for site in sites})


def _on(predictions: Mapping[str, Predictions], sites: Sequence[str]) -> Predictions:
    return joined_predictions([predictions[site] for site in sites])
