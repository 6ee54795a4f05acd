"""The first screen: what was trained, what came out, and what to beware of, in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedthorax.common.report.wording import (
    UNDEFINED,
    at,
    count,
    counted,
    figure,
    interval,
    joined,
    moment,
    round_ranges,
    seconds,
)

FEW_IMAGES = 10
MAX_TOLD = 8  # failures on the first screen
SELECTION_WORDS = {
    "mean_roc_auc": "the mean of both tasks' ROC-AUC",
    "disease_roc_auc": "the mean ROC-AUC of the X-ray findings",
    "cancer_roc_auc": "the mean ROC-AUC of the CT classes",
    "loss": "the loss",
}


@dataclass(frozen=True)
class Headline:
    """One big number. ``note`` says over how much it runs."""

    name: str
    value: str
    interval: str | None
    note: str


@dataclass(frozen=True)
class Caution:
    """Something the reader must know before using a figure; ``grave`` ones come first and stand out."""

    lead: str
    text: str
    grave: bool = False


def answer(metrics: Mapping[str, Any]) -> list[str]:
    """Who trained what, on how much, and which model was scored."""
    sites = list(metrics.get("sites") or {})
    rounds = last_round(metrics)
    findings = counted(len(at(metrics, "labels", "findings") or []), "X-ray finding")
    classes = counted(len(at(metrics, "labels", "cancer_classes") or []), "CT class", "CT classes")
    told = [_who(metrics, sites, rounds, f"{findings} and {classes}")]
    xray, ct = (
        sum(at(site, "data", "splits", "train", key) or 0 for site in _values(metrics)) for key in ("xray", "ct")
    )
    owner = "The hospitals hold" if len(sites) != 1 else f"{sites[0]} holds"
    told.append(f"{owner} {counted(xray, 'X-ray')} and {counted(ct, 'CT slice')} to train on.")
    best = metrics.get("best_round")
    if best is not None:
        metric = at(metrics, "selection", "metric")
        told.append(
            f"The model of round {best} was selected: on the central validation images, "
            f"{SELECTION_WORDS.get(metric, metric or 'the selection metric')} was best there "
            f"({figure(at(metrics, 'selection', 'value'))})."
        )
    if metrics.get("test"):
        told.append(f"It was then scored once on central test images that selected nothing: {_test_size(metrics)}.")
    return told


def headlines(scores: Mapping[str, Any] | None) -> list[Headline]:
    """The three main figures of test scores (with ``intervals``) or of validation scores (without)."""
    if scores is None:
        return []
    intervals = scores.get("intervals")
    disease, cancer = at(scores, "disease") or {}, at(scores, "cancer") or {}

    def headline(name: str, task: str, path: tuple[str, ...], note: str) -> Headline:
        low_high = at(intervals, task, *path)
        return Headline(name, figure(at(scores, task, *path)), None if low_high is None else interval(low_high), note)

    return [
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


def cautions(metrics: Mapping[str, Any]) -> list[Caution]:
    """Everything that limits the figures, grave ones first."""
    found = [
        *_status(metrics),
        *_rounds(metrics),
        *_test(metrics),
        *_data(metrics),
        *_always(metrics),
    ]
    return sorted(found, key=lambda caution: not caution.grave)


def is_few(row: Mapping[str, Any], scores: Mapping[str, Any], task: str) -> bool:
    """Whether a finding or class has figures, but fewer than ``FEW_IMAGES`` positives or negatives.

    With a handful of positives the bootstrap draws the same few images again and again, and its interval comes out too
    narrow: with one positive it holds the chance of the negatives only.
    """
    positives, negatives = _positives_negatives(row, scores, task)
    return positives > 0 and min(positives, negatives) < FEW_IMAGES


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
    names = {"roc_auc": "ROC-AUC", "f1": "F1", "precision": "precision", "recall": "recall", "accuracy": "accuracy"}
    for task, group in (("disease", "per_finding"), ("cancer", "per_class")):
        for name, row in (at(scores, task, group) or {}).items():
            by_reason: dict[str, list[str]] = {}
            for metric, reason in (row.get("reasons") or {}).items():
                by_reason.setdefault(reason, []).append(names.get(metric, metric))
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


def _test_size(metrics: Mapping[str, Any]) -> str:
    images = at(metrics, "central", "data", "splits", "test") or {}
    patients = at(metrics, "test", "patients") or {}
    parts = []
    for key, word in (("xray", "X-ray"), ("ct", "CT slice")):
        if images.get(key) is not None and patients.get(key) is not None:
            parts.append(f"{counted(images[key], word)} of {counted(patients[key], 'patient')}")
    return " and ".join(parts) or "their number was not recorded"


def _status(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    status, error = metrics.get("status"), metrics.get("error")
    if status == "finished":
        return
    words = {
        "running": "The run had not ended when this was written; figures will still change.",
        "interrupted": "The run was interrupted before its end; the rounds below are complete, later ones are missing.",
        "failed": "The run failed before its end; the rounds below are complete, later ones are missing.",
    }
    reason = f" Reason: {error}" if error else ""
    yield Caution("Not finished.", words.get(str(status), f"The status of the run is {status}.") + reason, grave=True)


def _rounds(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    failed: dict[tuple[str, str], list[int]] = {}
    missing: dict[str, list[int]] = {}
    for entry in metrics.get("rounds") or []:
        failures = {failure.get("site") for failure in entry.get("failures") or []}
        for failure in entry.get("failures") or []:
            failed.setdefault((str(failure.get("site")), str(failure.get("reason"))), []).append(entry["round"])
        if entry["round"] == 0:
            continue
        for name in metrics.get("sites") or {}:
            if name not in failures and at(entry, "sites", name, "train") is None:
                missing.setdefault(name, []).append(entry["round"])
    told = [
        Caution("Failure.", f"{site} failed in {round_ranges(sorted(set(rounds)))}: {reason}", grave=True)
        for (site, reason), rounds in failed.items()
    ]
    told += [
        Caution("Missing.", f"{site} trained nothing in {round_ranges(rounds)}.", grave=True)
        for site, rounds in missing.items()
    ]
    yield from told[:MAX_TOLD]
    if len(told) > MAX_TOLD:
        yield Caution("And more.", f"{len(told) - MAX_TOLD} further failures or absences; see Rounds.", grave=True)


def _test(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    test = metrics.get("test")
    if not test:
        yield Caution(
            "No test scores.", "Figures below come from validation images, which also selected the model.", grave=True
        )
        return
    findings, classes = at(test, "disease", "per_finding") or {}, at(test, "cancer", "per_class") or {}
    absent = [name for name, row in [*findings.items(), *classes.items()] if row.get("roc_auc") is None]
    if absent:
        yield Caution(
            "Undefined.",
            f"ROC-AUC cannot be computed for {joined(absent)}; reasons stand below the tables. Means leave these out.",
        )
    for which, words in ((0, "show"), (1, "do not show")):
        few = [
            f"{name} ({_positives_negatives(row, test, task)[which]})"
            for task, rows in (("disease", findings), ("cancer", classes))
            for name, row in rows.items()
            if is_few(row, test, task) and _positives_negatives(row, test, task)[which] < FEW_IMAGES
        ]
        if few:
            yield Caution(
                "Descriptive only.",
                f"Fewer than {FEW_IMAGES} test images {words} {joined(few, limit=20)}. These figures describe the "
                "images at hand and say little about others; no interval is shown for them.",
            )
    silent = [name for name, row in findings.items() if (row.get("known") or 0) > 0 and row.get("precision") is None]
    if silent:
        yield Caution(
            "Never predicted.",
            f"At the decision threshold {joined(silent, limit=20)} {'was' if len(silent) == 1 else 'were'} predicted "
            "on no test image; precision is undefined and recall is 0 where the finding occurs.",
        )
    yield from _uncertain(test, findings, classes)


def _positives_negatives(row: Mapping[str, Any], scores: Mapping[str, Any], task: str) -> tuple[int, int]:
    known = row.get("known") if task == "disease" else at(scores, "cancer", "known")
    positives = row.get("support") or 0
    return positives, max(0, (known or 0) - positives)


def _uncertain(test: Mapping[str, Any], findings: Mapping[str, Any], classes: Mapping[str, Any]) -> Iterator[Caution]:
    if not test.get("intervals"):
        yield Caution("No intervals.", "No 95 % intervals were computed; how far chance matters is unknown.")
        return
    at_chance = []
    for task, group, rows in (("disease", "per_finding", findings), ("cancer", "per_class", classes)):
        for name, row in rows.items():
            low_high = at(test, "intervals", task, group, name, "roc_auc")
            if low_high is not None and low_high[0] <= 0.5 and not is_few(row, test, task):
                at_chance.append(name)
    if at_chance:
        yield Caution(
            "No better than chance?", f"The 95 % interval of ROC-AUC reaches 0.5 for {joined(at_chance, 20)}."
        )
    yield Caution(
        "One training.",
        "The intervals cover the chance of which patients are in the test set, not that of the training: "
        "another seed gives another model.",
    )


def _data(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    hospitals = [(name, at(site, "data")) for name, site in (metrics.get("sites") or {}).items()]
    everyone = [*hospitals, ("the server", at(metrics, "central", "data"))]
    skipped = [(name, len(at(data, "skipped") or [])) for name, data in everyone]
    if any(number for _, number in skipped):
        listed = joined([f"{count(number)} at {name}" for name, number in skipped if number], limit=12)
        yield Caution("Files left out.", f"Unreadable files were skipped: {listed}.")
    left_out = at(metrics, "central", "left_out") or []
    if left_out:
        yield Caution(
            "Duplicates.",
            f"{counted(len(left_out), 'central image')} also stood among a hospital's images, pixel for pixel, and "
            f"{'was' if len(left_out) == 1 else 'were'} left out of the scores.",
        )
    for name, data in hospitals:
        train = at(data, "splits", "train") or {}
        empty = [word for key, word in (("xray", "X-rays"), ("ct", "CT slices")) if train.get(key) == 0]
        if empty:
            yield Caution("Nothing to train on.", f"{name} has no {' and no '.join(empty)} to train on.", grave=True)
    images = at(metrics, "central", "data", "splits", "test", "ct")
    if images and at(metrics, "test", "patients", "ct") == images:
        yield Caution(
            "CT patients.",
            "Every CT test slice counts as a patient of its own. If several come from one person, the true intervals "
            "of the CT figures are wider.",
        )


def _always(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    pairs, same = 0, 0
    for site in _values(metrics):
        pairs += at(site, "data", "pairing", "pairs") or 0
        same += at(site, "data", "pairing", "same_patient_pairs") or 0
    share = f" ({count(same)} of {count(pairs)} pairs are of one patient)" if pairs else ""
    yield Caution(
        "Pairs are not patients.",
        f"The model sees one X-ray with one CT slice; as a rule these are of different people{share}. "
        "A joint reading of one patient's two examinations was not tested.",
    )
    yield Caution(
        "Not a medical device.", "The figures hold for these images only; nothing here is a clinical validation."
    )


def _values(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((metrics.get("sites") or {}).values())


def _of(defined: int | None, rows: Mapping[str, Any] | None) -> str:
    return f"{defined or 0} of {len(rows or {})}"


def run_facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Short facts for the line below the title."""
    return [
        ("Status", str(metrics.get("status") or UNDEFINED)),
        ("Started", moment(metrics.get("started"))),
        ("Ended", moment(metrics.get("finished"))),
        ("Duration", seconds(at(metrics, "totals", "seconds"))),
        ("Seed", UNDEFINED if metrics.get("seed") is None else str(metrics["seed"])),
    ]
