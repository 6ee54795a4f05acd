"""The first screen: what was trained and what came out, in plain sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedthorax.common.config.training import TRAINED_WORDS
from fedthorax.common.ground.wording import (
    counted,
    figure,
    interval,
    joined,
    moment,
    round_ranges,
    seconds,
)
from fedthorax.common.metrics.figures import words_of
from fedthorax.common.metrics.scores import TASKS, Scores, Task, TestedScores
from fedthorax.common.record.modalities import TASK_OF
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import Phase, Run
from fedthorax.common.report.cautions import FEW_IMAGES, is_few
from fedthorax.common.report.joining import answer as answer_to_joining

SELECTION_WORDS = {
    "mean_roc_auc": "the mean of both tasks' ROC-AUC",
    "disease_roc_auc": "the mean ROC-AUC of the X-ray findings",
    "cancer_roc_auc": "the mean ROC-AUC of the CT classes",
    "loss": "the loss",
}
_IMAGES: dict[Modality, str] = {"xray": "X-ray", "ct": "CT slice"}


@dataclass(frozen=True)
class Headline:
    """One big number. ``note`` says over how much it runs."""

    name: str
    value: str
    interval: str | None
    note: str


def answers(
    run: Run,
    absent: Modality | None = None,
    joined_at: tuple[str, Mapping[str, Any]] | None = None,
) -> dict[str, list[str]]:
    """Sentences for the questions of the first screen: ``what``, ``who``, ``good``, ``alone``.

    ``absent`` is a modality of which nobody has any; ``joined_at`` where each hospital was also trained alone, and
    joining.json of it.
    """
    return {
        "what": [*_what(run, absent), *_selected(run, absent)],
        "who": [*_who(run, absent), *_participation(run)],
        "good": _good(run, absent),
        "alone": _alone(run, absent, joined_at),
    }


def _selected(run: Run, absent: Modality | None) -> list[str]:
    if run.best_round is None:
        return []
    metric = run.selection.metric
    if metric == "last":
        return [f"The model is that of the last round, {run.best_round}, as was set beforehand: no image chose it."]
    if metric == "mean_roc_auc" and absent:
        metric = "disease_roc_auc" if absent == "ct" else "cancer_roc_auc"
    weighed = ", each weighed by its certainty," if run.selection.weights == "certainty" and metric != "loss" else ""
    untrained = "" if run.best_round else ", the one before any training,"
    return [
        f"The model of round {run.best_round}{untrained} was selected: on the central validation images, "
        f"{SELECTION_WORDS.get(metric, metric)}{weighed} was best there ({figure(run.selection.value)})."
    ]


def _good(run: Run, absent: Modality | None) -> list[str]:
    if run.test is None:
        words = "Not known from images that chose nothing: there are no central test images. "
        chosen = "thresholds" if run.selection.metric == "last" else "model"
        words += (
            f"What is shown comes from the central validation images, which also chose the {chosen}, so it flatters."
        )
        own = any(site.test for site in run.sites.values())
        return [words, *(["The hospitals' own test images, below, selected nothing."] if own else [])]
    told = [f"Scored once on central test images that selected nothing: {_test_size(run, absent)}."]
    above, at_chance, few = against_chance(run.test)
    if number := len(above) + len(at_chance) + len(few):
        parts = [f"{len(above) or 'none'} better than chance (the 95 % interval of ROC-AUC lies above 0.5)"]
        if at_chance:
            parts.append(f"{len(at_chance)} not shown to be ({joined(at_chance, limit=20)})")
        if few:
            fewer = f"fewer than {FEW_IMAGES} with it or without it"
            parts.append(f"{len(few)} with too few images to tell ({fewer}: {joined(few, limit=20)})")
        told.append(f"Of {counted(number, 'label')}: {'; '.join(parts)}.")
    return told


def against_chance(test: TestedScores) -> tuple[list[str], list[str], list[str]]:
    """Findings and classes whose interval of ROC-AUC lies above 0.5, does not, and those with too few images."""
    above: list[str] = []
    at_chance: list[str] = []
    few: list[str] = []
    for task, _ in TASKS:
        for name, row in test.head(task).rows.items():
            low_high = test.interval(task, "roc_auc", name)
            if is_few(row) or row.roc_auc is None:
                few.append(name)
            elif low_high is not None:
                (above if low_high[0] > 0.5 else at_chance).append(name)
    return above, at_chance, few


def _alone(run: Run, absent: Modality | None, joined_at: tuple[str, Mapping[str, Any]] | None) -> list[str]:
    if run.mode == "train" or len(run.sites) < 2:
        return []
    if joined_at is None:
        return ["Not known: no hospital was trained alone here. The command fedthorax joining does that, and compares."]
    place, document = joined_at
    told = [answer_to_joining(document, task, words) for task, words in TASKS if not absent or task != TASK_OF[absent]]
    return [*told, f"From {place}, where every hospital was also trained alone."]


def headlines(scores: Scores | None, absent: Modality | None = None) -> list[Headline]:
    """The main figures of test scores, with intervals, or of validation scores: one of the findings, two of the
    classes."""
    if scores is None:
        return []

    def headline(name: str, task: Task, of: str, note: str) -> Headline:
        low_high = scores.interval(task, of)
        return Headline(name, figure(scores.mean(task, of)), None if low_high is None else interval(low_high), note)

    classes = f"{_over(scores, 'cancer')} classes, each against the rest; 0.5 is chance"
    accuracy = f"of {counted(scores.cancer.known or 0, 'slice')}"
    if by_class := [sum(row) for row in scores.cancer.confusion_matrix or () if sum(row)]:
        accuracy += f"; always the commonest class: {max(by_class) / sum(by_class):.3f}"
    found = [
        headline(
            "X-ray findings: mean ROC-AUC",
            "disease",
            "roc_auc",
            f"{_over(scores, 'disease')} findings; 0.5 is chance, 1 is without fault",
        ),
        headline("CT classes: mean ROC-AUC", "cancer", "roc_auc", classes),
        headline("CT classes: accuracy", "cancer", "accuracy", accuracy),
    ]
    return found[1:] if absent == "xray" else found[:1] if absent == "ct" else found


def _over(scores: Scores, task: Task) -> str:
    head = scores.head(task)
    over, labels = head.macro.over.get("roc_auc", 0), len(head.rows)
    return f"over {labels}" if over == labels else f"over {over} of {labels}"


def phases(run: Run) -> list[str]:
    """A sentence for each stretch of rounds in which the same part was trained."""
    groups: list[tuple[Phase, list[tuple[int, float]]]] = []
    for entry in run.rounds:
        if entry.phase is None:
            continue
        if not groups or (groups[-1][0].index, groups[-1][0].parts) != (entry.phase.index, entry.phase.parts):
            groups.append((entry.phase, []))
        groups[-1][1].append((entry.round, entry.phase.learning_rate))
    told = []
    for number, (phase, rounds) in enumerate(groups, start=1):
        (_, rate), (_, last_rate) = rounds[0], rounds[-1]
        rates = f"learning rate {rate:g}"
        if last_rate != rate:
            rates += f" falling to {last_rate:g}" if last_rate < rate else f" to {last_rate:g}"
        local = f"{counted(phase.local_epochs, 'pass', 'passes')} over the data a round"
        what = TRAINED_WORDS.get(phase.trainable) or f"{joined(phase.parts)}, all else frozen"
        which = round_ranges([one for one, _ in rounds])
        told.append(f"Phase {number}, {which}: {what}; {rates}, {local}.")
    return told


def undefined(scores: Scores | None) -> list[str]:
    """Every undefined per-finding and per-class figure with its reason, equal reasons told together."""
    if scores is None:
        return []
    grouped: dict[tuple[str, str], list[str]] = {}
    for task, _ in TASKS:
        for name, row in scores.head(task).rows.items():
            by_reason: dict[str, list[str]] = {}
            for metric, reason in row.reasons.items():
                by_reason.setdefault(reason, []).append(words_of(metric))
            for reason, metrics in by_reason.items():
                grouped.setdefault((joined(metrics), reason), []).append(name)
    return [f"{joined(who, limit=99)}: {what}. {reason}" for (what, reason), who in grouped.items()]


def _what(run: Run, absent: Modality | None) -> list[str]:
    labels: dict[Modality, str] = {
        "xray": counted(len(run.labels.findings), "X-ray finding"),
        "ct": counted(len(run.labels.cancer_classes), "CT class", "CT classes"),
    }
    what = " and ".join(words for key, words in labels.items() if key != absent)
    in_rounds = counted(run.last_round, "round") + (" (stopped early)" if run.stopped_early else "")
    return [f"One model for {what}, in {in_rounds}."]


def _who(run: Run, absent: Modality | None) -> list[str]:
    sites, described = list(run.sites), [data for data in run.passports.values() if data and "train" in data.splits]
    told = {
        word: [getattr(data.splits["train"], key) for data in described]
        for key, word in _IMAGES.items()
        if key != absent
    }
    known = {word: [number for number in numbers if number is not None] for word, numbers in told.items()}
    images = " and ".join(
        ("at least " if len(numbers) < len(told[word]) else "") + counted(sum(numbers), word)
        for word, numbers in known.items()
    )
    if run.mode == "train":
        return [f"In one place, on the images of {joined(sites)}: {images} to train on."]
    who = f"One hospital, {sites[0]}" if len(sites) == 1 else f"{len(sites)} hospitals, {joined(sites)}"
    where = ", simulated on one machine" if run.mode == "simulate" else ""
    whom = f"{who}, with {images} to train on{where}."
    if described and not any(known.values()):
        whom = f"{who}{where}; on how many images they train they do not tell."
    return [whom, _exchanged(run)]


def _exchanged(run: Run) -> str:
    masked = run.masks and f", masked so that the server read sums of {run.masks.smallest_sum} hospitals or more,"
    private = run.privacy
    return f"They exchanged model weights{masked or ''} and figures, no images." + (
        f" With differential privacy for patients: epsilon {private.epsilon:g} planned, delta {private.delta:g} "
        "(Privacy, below, says what that covers)."
        if private
        else ""
    )


def _participation(run: Run) -> list[str]:
    """A sentence that names the hospitals which did not train in every round; nothing where all did."""
    rounds, parts = [entry for entry in run.rounds if entry.round > 0], []
    for name in run.sites:
        took_part = sum(entry.trained(name) for entry in rounds)
        if took_part < len(rounds):
            which = f"{name}, the largest hospital," if name == run.largest_site else name
            parts.append(f"{which} in {took_part if took_part else 'none'} of {len(rounds)}")
    return [f"Not every hospital took part in every round: {joined(parts, limit=20)}."] if parts else []


def _test_size(run: Run, absent: Modality | None) -> str:
    images = run.central.data and run.central.data.splits.get("test")
    if run.test is None or images is None:
        return "their number was not recorded"
    return " and ".join(
        f"{counted(number, word)} of {counted(getattr(run.test.patients, key), 'patient')}"
        for key, word in _IMAGES.items()
        if key != absent and (number := getattr(images, key)) is not None
    )


def run_facts(run: Run) -> list[tuple[str, str]]:
    """Short facts for the line below the title."""
    resumed = round_ranges([entry.after_round for entry in run.resumed])
    return [
        ("Status", run.status),
        ("Started", moment(run.started)),
        ("Ended", moment(run.finished)),
        ("Duration", seconds(run.totals.seconds)),
        *([("Resumed", f"after {resumed}")] if run.resumed else []),
        ("Seed", str(run.seed)),
    ]
