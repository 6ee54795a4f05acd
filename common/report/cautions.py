"""What limits the figures of a run, told before anybody uses them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedthorax.common.algorithms import TABLE, algorithm_of
from fedthorax.common.ground.wording import at, count, counted, figure, joined, round_ranges
from fedthorax.common.issues.issue import CODES
from fedthorax.common.metrics.ranking import MIN_IMAGES
from fedthorax.common.page.modalities import WORDS
from fedthorax.common.record.largest_site import largest_site

FEW_IMAGES = MIN_IMAGES
MAX_TOLD = 8  # failures on the first screen


@dataclass(frozen=True)
class Caution:
    """Something the reader must know before using a figure; ``grave`` ones come first and stand out."""

    lead: str
    text: str
    grave: bool = False


def cautions(metrics: Mapping[str, Any], absent: str | None = None) -> list[Caution]:
    """Everything that limits the figures, grave ones first. ``absent`` is a modality of which nobody has any."""
    found = [
        Caution(
            "Not a medical device.", "The figures hold for these images only; nothing here is a clinical validation."
        ),
        *_status(metrics),
        *_rounds(metrics),
        *_replies(metrics),
        *_test(metrics),
        *_data(metrics, absent),
        *_own_parts(metrics),
        *_always(metrics, absent),
    ]
    return sorted(found, key=lambda caution: not caution.grave)


def is_few(row: Mapping[str, Any], scores: Mapping[str, Any], task: str) -> bool:
    """Whether a finding or class has figures, but fewer than ``FEW_IMAGES`` positives or negatives.

    With a handful of positives the bootstrap draws the same few images again and again, and its interval comes out too
    narrow: with one positive it holds the chance of the negatives only.
    """
    positives, negatives = _positives_negatives(row, scores, task)
    return positives > 0 and min(positives, negatives) < FEW_IMAGES


def num_skipped(data: Any) -> int:
    """Files left out; a hospital that names none tells them by fault, several in one entry."""
    return sum(entry.get("count") or 1 for entry in at(data, "skipped") or [])


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
    largest = largest_site(metrics)
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
        Caution(
            "Failure.", f"{_named(site, largest)} failed in {round_ranges(sorted(set(rounds)))}: {reason}", grave=True
        )
        for (site, reason), rounds in failed.items()
    ]
    told += [
        Caution("Missing.", f"{_named(site, largest)} trained nothing in {round_ranges(rounds)}.", grave=True)
        for site, rounds in missing.items()
    ]
    yield from told[:MAX_TOLD]
    if len(told) > MAX_TOLD:
        yield Caution("And more.", f"{len(told) - MAX_TOLD} further failures or absences; see Rounds.", grave=True)


def _named(site: str, largest: str | None) -> str:
    return f"{site}, the largest hospital," if site == largest else site


def _replies(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    """Replies that came too late, and updates that were averaged although they are odd."""
    late: dict[str, list[int]] = {}
    odd: dict[str, list[tuple[int, str]]] = {}
    for entry in metrics.get("rounds") or []:
        for reply in entry.get("late") or []:
            if not reply.get("duplicate"):
                late.setdefault(reply["site"], []).append(reply["round"])
        for warning in entry.get("warnings") or []:
            odd.setdefault(warning["site"], []).append((entry["round"], warning["reason"]))
    for site, rounds in late.items():
        yield Caution("Late.", f"{site} answered {round_ranges(sorted(set(rounds)))} too late; that work is not used.")
    for site, found in odd.items():
        where = round_ranges(sorted({number for number, _ in found}))
        yield Caution("Odd, but counted.", f"{site} in {where}: {found[0][1]}.", grave=True)


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


def _data(metrics: Mapping[str, Any], absent: str | None) -> Iterator[Caution]:
    hospitals = [(name, at(site, "data")) for name, site in (metrics.get("sites") or {}).items()]
    everyone = [*hospitals, ("the server", at(metrics, "central", "data"))]
    skipped = [(name, num_skipped(data)) for name, data in everyone]
    if any(number for _, number in skipped):
        listed = joined([f"{count(number)} at {name}" for name, number in skipped if number], limit=12)
        yield Caution("Files left out.", f"Unreadable files were skipped: {listed}.")
    left_out = at(metrics, "central", "left_out") or []
    if left_out:
        yield Caution(
            "Duplicates.",
            f"{counted(len(left_out), 'central test image')} also stood among the images that train or select a model, "
            f"pixel for pixel, and {'was' if len(left_out) == 1 else 'were'} left out of the scores."
            + _flattered(metrics),
        )
    accepted: dict[str, list[str]] = {}
    for name, data in everyone:
        for entry in at(data, "check") or []:
            if entry.get("level") == "error":
                found = f"{name} ({count(entry.get('count'))})"
                accepted.setdefault(CODES[entry["code"]].title, []).append(found)
    for title, holders in accepted.items():
        yield Caution("Accepted errors in the data.", f"{title}: {joined(holders, limit=12)}.", grave=True)
    for name, data in hospitals:
        train = at(data, "splits", "train") or {}
        empty = [word for key, word in WORDS.items() if key != absent and train.get(key) == 0]
        if empty:
            yield Caution("Nothing to train on.", f"{name} has no {' and no '.join(empty)} to train on.", grave=True)
    images = at(metrics, "central", "data", "splits", "test", "ct")
    if images and at(metrics, "test", "patients", "ct") == images:
        yield Caution(
            "CT patients.",
            "Every CT test slice counts as a patient of its own. If several come from one person, the true intervals "
            "of the CT figures are wider.",
        )


def _flattered(metrics: Mapping[str, Any]) -> str:
    """What the headline figures would be with those images, which is what a careless test reports."""
    figures = [
        f"{words} {figure(whole)} instead of {figure(at(metrics, 'test', *path))}"
        for words, path in (
            ("mean ROC-AUC of the findings", ("disease", "macro", "roc_auc")),
            ("mean ROC-AUC of the CT classes", ("cancer", "macro", "roc_auc")),
            ("CT accuracy", ("cancer", "accuracy")),
        )
        if (whole := at(metrics, "test_with_duplicates", *path)) not in (None, at(metrics, "test", *path))
    ]
    return f" Counting them too: {', '.join(figures)}." if figures else ""


def _own_parts(metrics: Mapping[str, Any]) -> Iterator[Caution]:
    strategy = metrics.get("strategy")
    if strategy in TABLE and (told := algorithm_of(strategy).caution):
        yield Caution(*told)


def _always(metrics: Mapping[str, Any], absent: str | None) -> Iterator[Caution]:
    if absent:
        heads = {"xray": "the findings, whose head", "ct": "the CT classes, whose head"}[absent]
        yield Caution(
            f"No {WORDS[absent]}.",
            f"Nobody held any: what the model says of {heads} has learnt nothing, means nothing, and is not shown.",
        )
    else:
        yield _pairs(metrics)


def _pairs(metrics: Mapping[str, Any]) -> Caution:
    pairs, same = 0, 0
    for site in (metrics.get("sites") or {}).values():
        pairs += at(site, "data", "pairing", "pairs") or 0
        same += at(site, "data", "pairing", "same_patient_pairs") or 0
    share = f" ({count(same)} of {count(pairs)} pairs are of one patient)" if pairs else ""
    return Caution(
        "Pairs are not patients.",
        f"The model sees one X-ray with one CT slice; as a rule these are of different people{share}. "
        "A joint reading of one patient's two examinations was not tested.",
    )
