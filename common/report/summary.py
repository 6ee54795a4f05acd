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
from fedthorax.common.report.cautions import is_few
from fedthorax.common.report.joining import TASKS
from fedthorax.common.report.joining import answer as answer_to_joining

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


def answers(
    metrics: Mapping[str, Any],
    absent: str | None = None,
    tested: bool = True,
    joined_at: tuple[str, Mapping[str, Any]] | None = None,
) -> dict[str, list[str]]:
    """Sentences for the questions of the first screen: ``what``, ``who``, ``good``, ``alone``.

    ``absent`` is a modality of which nobody has any; ``tested`` whether there are central test scores; ``joined_at``
    where each hospital was also trained alone, and joining.json of it.
    """
    return {
        "what": [*_what(metrics, absent), *_selected(metrics, absent)],
        "who": [*_who(metrics, absent), *_participation(metrics)],
        "good": _good(metrics, absent, tested),
        "alone": _alone(metrics, absent, joined_at),
    }


def _selected(metrics: Mapping[str, Any], absent: str | None) -> list[str]:
    best, metric = metrics.get("best_round"), at(metrics, "selection", "metric")
    if best is None:
        return []
    if metric == "mean_roc_auc" and absent:
        metric = "disease_roc_auc" if absent == "ct" else "cancer_roc_auc"
    return [
        f"The model of round {best} was selected: on the central validation images, "
        f"{SELECTION_WORDS.get(metric, metric or 'the selection metric')} was best there "
        f"({figure(at(metrics, 'selection', 'value'))})."
    ]


def _good(metrics: Mapping[str, Any], absent: str | None, tested: bool) -> list[str]:
    if not tested:
        words = "Not known from images that chose nothing: there are no central test images. "
        words += (
            "What is shown comes from the central validation images, which also selected the model, so it flatters."
        )
        own = any(at(site, "test", "disease") or at(site, "test", "cancer") for site in _values(metrics))
        return [words, *(["The hospitals' own test images, below, selected nothing."] if own else [])]
    told = [f"Scored once on central test images that selected nothing: {_test_size(metrics, absent)}."]
    above, at_chance, few = against_chance(metrics["test"])
    if number := len(above) + len(at_chance) + len(few):
        told.append(
            f"Of {counted(number, 'label')}, {_are(above)} better than chance (the 95 % interval lies above 0.5)"
        )
        told[-1] += f", {_are(at_chance)} not shown to be" if at_chance else ""
        told[-1] += f", {_have(few)} too few images to tell." if few else "."
    return told


def against_chance(test: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Findings and classes whose interval of ROC-AUC lies above 0.5, does not, and those with too few images."""
    above: list[str] = []
    at_chance: list[str] = []
    few: list[str] = []
    for task, group in (("disease", "per_finding"), ("cancer", "per_class")):
        for name, row in (at(test, task, group) or {}).items():
            low_high = at(test, "intervals", task, group, name, "roc_auc")
            if is_few(row, test, task) or row.get("roc_auc") is None:
                few.append(name)
            elif low_high is not None:
                (above if low_high[0] > 0.5 else at_chance).append(name)
    return above, at_chance, few


def _are(names: Sequence[str]) -> str:
    return f"{len(names)} {'is' if len(names) == 1 else 'are'}"


def _have(names: Sequence[str]) -> str:
    return f"{len(names)} {'has' if len(names) == 1 else 'have'}"


def _alone(
    metrics: Mapping[str, Any], absent: str | None, joined_at: tuple[str, Mapping[str, Any]] | None
) -> list[str]:
    if metrics.get("mode") == "train" or len(metrics.get("sites") or {}) < 2:
        return []
    if joined_at is None:
        return ["Not known from this run: it trained no hospital alone. fedthorax joining does, and compares."]
    place, document = joined_at
    tasks = [(task, words) for task, words in TASKS if task != {"xray": "disease", "ct": "cancer"}.get(absent or "")]
    told = [answer_to_joining(document, task, words) for task, words in tasks]
    return [*told, f"From {place}, where every hospital was also trained alone."]


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


def _what(metrics: Mapping[str, Any], absent: str | None) -> list[str]:
    labels = {
        "xray": counted(len(at(metrics, "labels", "findings") or []), "X-ray finding"),
        "ct": counted(len(at(metrics, "labels", "cancer_classes") or []), "CT class", "CT classes"),
    }
    what = " and ".join(words for key, words in labels.items() if key != absent)
    in_rounds = counted(last_round(metrics), "round") + (" (stopped early)" if metrics.get("stopped_early") else "")
    return [f"One model for {what}, in {in_rounds}."]


def _who(metrics: Mapping[str, Any], absent: str | None) -> list[str]:
    sites = list(metrics.get("sites") or {})
    images = " and ".join(
        counted(sum(at(site, "data", "splits", "train", key) or 0 for site in _values(metrics)), word)
        for key, word in _IMAGES.items()
        if key != absent
    )
    if metrics.get("mode") == "train":
        return [f"In one place, on the images of {joined(sites)}: {images} to train on."]
    who = f"One hospital, {sites[0]}" if len(sites) == 1 else f"{len(sites)} hospitals, {joined(sites)}"
    where = ", simulated on one machine" if metrics.get("mode") == "simulate" else ""
    return [f"{who}, with {images} to train on{where}.", "They exchanged model weights and figures, no images."]


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
