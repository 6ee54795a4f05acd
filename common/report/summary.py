"""The first screen: what was trained and what came out, in plain sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedthorax.common.ground.wording import (
    UNDEFINED,
    at,
    counted,
    figure,
    interval,
    joined,
    moment,
    round_ranges,
    seconds,
)
from fedthorax.common.metrics.figures import words_of
from fedthorax.common.record.largest_site import largest_site

SELECTION_WORDS = {
    "mean_roc_auc": "the mean of both tasks' ROC-AUC",
    "disease_roc_auc": "the mean ROC-AUC of the X-ray findings",
    "cancer_roc_auc": "the mean ROC-AUC of the CT classes",
    "loss": "the loss",
}
_IMAGES = {"xray": "X-ray", "ct": "CT slice"}


@dataclass(frozen=True)
class Headline:
    """One big number. ``note`` says over how much it runs."""

    name: str
    value: str
    interval: str | None
    note: str


def answer(metrics: Mapping[str, Any], absent: str | None = None) -> list[str]:
    """Who trained what, on how much, and which model was scored. ``absent`` is a modality of which nobody has any."""
    sites = list(metrics.get("sites") or {})
    rounds = last_round(metrics)
    labels = {
        "xray": counted(len(at(metrics, "labels", "findings") or []), "X-ray finding"),
        "ct": counted(len(at(metrics, "labels", "cancer_classes") or []), "CT class", "CT classes"),
    }
    what = " and ".join(words for key, words in labels.items() if key != absent)
    told = [_who(metrics, sites, rounds, what), *_participation(metrics)]
    images = " and ".join(
        counted(sum(at(site, "data", "splits", "train", key) or 0 for site in _values(metrics)), word)
        for key, word in _IMAGES.items()
        if key != absent
    )
    owner = "The hospitals hold" if len(sites) != 1 else f"{sites[0]} holds"
    told.append(f"{owner} {images} to train on.")
    best = metrics.get("best_round")
    if best is not None:
        metric = at(metrics, "selection", "metric")
        if metric == "mean_roc_auc" and absent:
            metric = "disease_roc_auc" if absent == "ct" else "cancer_roc_auc"
        told.append(
            f"The model of round {best} was selected: on the central validation images, "
            f"{SELECTION_WORDS.get(metric, metric or 'the selection metric')} was best there "
            f"({figure(at(metrics, 'selection', 'value'))})."
        )
    if metrics.get("test"):
        told.append(
            f"It was then scored once on central test images that selected nothing: {_test_size(metrics, absent)}."
        )
    return told


def headlines(scores: Mapping[str, Any] | None, absent: str | None = None) -> list[Headline]:
    """The main figures of test scores (with ``intervals``) or of validation scores (without): one of the findings, two
    of the classes."""
    if scores is None:
        return []
    intervals = scores.get("intervals")
    disease, cancer = at(scores, "disease") or {}, at(scores, "cancer") or {}

    def headline(name: str, task: str, path: tuple[str, ...], note: str) -> Headline:
        low_high = at(intervals, task, *path)
        return Headline(name, figure(at(scores, task, *path)), None if low_high is None else interval(low_high), note)

    found = [
        headline(
            "X-ray findings: mean ROC-AUC",
            "disease",
            ("macro", "roc_auc"),
            f"over {_of(at(disease, 'macro', 'num_findings', 'roc_auc'), disease.get('per_finding'))} findings",
        ),
        headline(
            "CT classes: mean ROC-AUC",
            "cancer",
            ("macro", "roc_auc"),
            f"over {_of(at(cancer, 'macro', 'num_classes', 'roc_auc'), cancer.get('per_class'))} classes, "
            "each against the rest",
        ),
        headline("CT classes: accuracy", "cancer", ("accuracy",), f"of {counted(cancer.get('known') or 0, 'slice')}"),
    ]
    return found[1:] if absent == "xray" else found[:1] if absent == "ct" else found


def last_round(metrics: Mapping[str, Any]) -> int:
    """Number of the last round; 0 if only the untrained model was scored, or nothing."""
    return max((entry["round"] for entry in metrics.get("rounds") or []), default=0)


def phases(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each stretch of rounds in which the same part was trained."""
    groups: list[list[Mapping[str, Any]]] = []
    for entry in metrics.get("rounds") or []:
        phase = entry.get("phase")
        if not phase:
            continue
        if not groups or groups[-1][-1]["phase"].get("index") != phase.get("index"):
            groups.append([])
        groups[-1].append(entry)
    told = []
    for number, group in enumerate(groups, start=1):
        first, last = group[0]["phase"], group[-1]["phase"]
        part = {"heads": "fusion and heads, backbones frozen", "all": "the whole network"}.get(
            str(first.get("trainable")), str(first.get("trainable"))
        )
        rate, last_rate = first.get("learning_rate"), last.get("learning_rate")
        rates = f"learning rate {rate:g}" if rate is not None else "learning rate not recorded"
        if rate is not None and last_rate is not None and last_rate != rate:
            rates += f" falling to {last_rate:g}" if last_rate < rate else f" to {last_rate:g}"
        passes = first.get("local_epochs")
        local = f", {counted(passes, 'pass', 'passes')} over the data a round" if passes else ""
        told.append(f"Phase {number}, {round_ranges([entry['round'] for entry in group])}: {part}; {rates}{local}.")
    return told


def undefined(scores: Mapping[str, Any] | None) -> list[str]:
    """Every undefined per-finding and per-class figure with its reason, equal reasons told together."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for task, group in (("disease", "per_finding"), ("cancer", "per_class")):
        for name, row in (at(scores, task, group) or {}).items():
            by_reason: dict[str, list[str]] = {}
            for metric, reason in (row.get("reasons") or {}).items():
                by_reason.setdefault(reason, []).append(words_of(metric))
            for reason, metrics in by_reason.items():
                grouped.setdefault((joined(metrics), reason), []).append(name)
    return [f"{joined(who, limit=99)}: {what}. {reason}" for (what, reason), who in grouped.items()]


def _who(metrics: Mapping[str, Any], sites: Sequence[str], rounds: int, labels: str) -> str:
    in_rounds = counted(rounds, "round") + (" (stopped early)" if metrics.get("stopped_early") else "")
    if metrics.get("mode") == "train":
        return f"One model for {labels} was trained in one place, on the images of {joined(sites)}, in {in_rounds}."
    who = "One hospital" if len(sites) == 1 else f"{len(sites)} hospitals"
    where = " (simulated on one machine)" if metrics.get("mode") == "simulate" else ""
    return (
        f"{who}, {joined(sites)}, trained one model for {labels} together in {in_rounds}{where}. "
        "They exchanged model weights and figures, no images."
    )


def _participation(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence that names the hospitals which did not train in every round; nothing where all did."""
    trained = [entry for entry in metrics.get("rounds") or [] if entry["round"] > 0]
    largest, parts = largest_site(metrics), []
    for name in metrics.get("sites") or {}:
        took_part = sum(at(entry, "sites", name, "train") is not None for entry in trained)
        if took_part < len(trained):
            which = f"{name}, the largest hospital," if name == largest else name
            parts.append(f"{which} in {took_part if took_part else 'none'} of {len(trained)}")
    return [f"Not every hospital took part in every round: {joined(parts, limit=20)}."] if parts else []


def _test_size(metrics: Mapping[str, Any], absent: str | None) -> str:
    images = at(metrics, "central", "data", "splits", "test") or {}
    patients = at(metrics, "test", "patients") or {}
    parts = []
    for key, word in _IMAGES.items():
        if key != absent and images.get(key) is not None and patients.get(key) is not None:
            parts.append(f"{counted(images[key], word)} of {counted(patients[key], 'patient')}")
    return " and ".join(parts) or "their number was not recorded"


def _values(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((metrics.get("sites") or {}).values())


def _of(defined: int | None, rows: Mapping[str, Any] | None) -> str:
    return f"{defined or 0} of {len(rows or {})}"


def run_facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Short facts for the line below the title."""
    resumed = round_ranges([entry["after_round"] for entry in metrics.get("resumed") or []])
    return [
        ("Status", str(metrics.get("status") or UNDEFINED)),
        ("Started", moment(metrics.get("started"))),
        ("Ended", moment(metrics.get("finished"))),
        ("Duration", seconds(at(metrics, "totals", "seconds"))),
        *([("Resumed", f"after {resumed}")] if metrics.get("resumed") else []),
        ("Seed", UNDEFINED if metrics.get("seed") is None else str(metrics["seed"])),
    ]
