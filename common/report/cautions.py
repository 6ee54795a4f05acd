"""What limits the figures of a run, told before anybody uses them."""

from collections.abc import Iterator
from dataclasses import dataclass

from fedthorax.common.algorithms import TABLE, algorithm_of
from fedthorax.common.ground.wording import count, counted, figure, joined, round_ranges
from fedthorax.common.issues.issue import CODES
from fedthorax.common.metrics.resampling import MIN_IMAGES, WANTED_ERROR, positives_needed
from fedthorax.common.metrics.scores import TASKS, Row, Task, TestedScores
from fedthorax.common.record.modalities import WORDS
from fedthorax.common.record.passport import Modality, Passport
from fedthorax.common.record.run import Run
from fedthorax.common.report.subgroups import gaps_of, of_task, striking

FEW_IMAGES = MIN_IMAGES
MAX_TOLD = 8  # failures on the first screen
_ENDINGS = {
    "running": "The run had not ended when this was written; figures will still change.",
    "interrupted": "The run was interrupted before its end; the rounds below are complete, later ones are missing.",
    "failed": "The run failed before its end; the rounds below are complete, later ones are missing.",
}


@dataclass(frozen=True)
class Caution:
    """Something the reader must know before using a figure; ``grave`` ones come first and stand out."""

    lead: str
    text: str
    grave: bool = False


def cautions(run: Run, absent: Modality | None = None) -> list[Caution]:
    """Everything that limits the figures, grave ones first. ``absent`` is a modality of which nobody has any."""
    found = [
        Caution(
            "Not a medical device.", "The figures hold for these images only; nothing here is a clinical validation."
        ),
        *_status(run),
        *_rounds(run),
        *_replies(run),
        *_groups(run),
        *_test(run.test),
        *_data(run, absent),
        *_chosen_by_few(run),
        *([Caution(*told)] if run.strategy in TABLE and (told := algorithm_of(run.strategy).caution) else []),
        *_always(run, absent),
    ]
    return sorted(found, key=lambda caution: not caution.grave)


def is_few(row: Row) -> bool:
    """Whether a finding or class has figures, but too few positives or negatives.

    With a handful of positives the bootstrap draws the same few images again and again, and its interval comes out too
    narrow: with one positive it holds the chance of the negatives only.
    """
    return row.descriptive and bool(row.support)


def num_skipped(data: Passport | None) -> int:
    """Files left out; a hospital that names none tells them by fault, several in one entry."""
    return sum(entry.count for entry in data.skipped) if data else 0


def _status(run: Run) -> Iterator[Caution]:
    if run.status != "finished":
        reason = f" Reason: {run.error}" if run.error else ""
        yield Caution("Not finished.", _ENDINGS[run.status] + reason, grave=True)


def _rounds(run: Run) -> Iterator[Caution]:
    failed: dict[tuple[str, str], list[int]] = {}
    missing: dict[str, list[int]] = {}
    for entry in run.rounds:
        for failure in entry.failures:
            failed.setdefault((failure.site, failure.reason), []).append(entry.round)
        silent = {failure.site for failure in entry.failures}
        for name in run.sites if entry.round else ():
            if name not in silent and not entry.trained(name):
                missing.setdefault(name, []).append(entry.round)
    if run.best_round == 0 and run.last_round:
        words = "No round gave a better model than the one before any training, of which the figures below are."
        yield Caution("Nothing learnt.", words, grave=True)
    told = [
        Caution("Failure.", f"{_named(site, run)} failed in {round_ranges(sorted(set(rounds)))}: {reason}", grave=True)
        for (site, reason), rounds in failed.items()
    ]
    told += [
        Caution("Missing.", f"{_named(site, run)} trained nothing in {round_ranges(rounds)}.", grave=True)
        for site, rounds in missing.items()
    ]
    yield from told[:MAX_TOLD]
    if len(told) > MAX_TOLD:
        yield Caution("And more.", f"{len(told) - MAX_TOLD} further failures or absences; see Rounds.", grave=True)


def _named(site: str, run: Run) -> str:
    return f"{site}, the largest hospital," if site == run.largest_site else site


def _replies(run: Run) -> Iterator[Caution]:
    """Replies that came too late, and updates that were averaged although they are odd."""
    late: dict[str, list[int]] = {}
    odd: dict[str, list[tuple[int, str]]] = {}
    for entry in run.rounds:
        for reply in entry.late:
            if not reply.duplicate:
                late.setdefault(reply.site, []).append(reply.round)
        for warning in entry.warnings:
            odd.setdefault(warning.site, []).append((entry.round, warning.reason))
    for site, rounds in late.items():
        yield Caution("Late.", f"{site} answered {round_ranges(sorted(set(rounds)))} too late; that work is not used.")
    for site, found in odd.items():
        where = round_ranges(sorted({number for number, _ in found}))
        yield Caution("Odd, but counted.", f"{site} in {where}: {found[0][1]}.", grave=True)


def _test(test: TestedScores | None) -> Iterator[Caution]:
    if test is None:
        return
    rows = [(name, row) for task, _ in TASKS for name, row in test.head(task).rows.items()]
    absent = [name for name, row in rows if row.roc_auc is None]
    if absent:
        yield Caution(
            "Undefined.",
            f"ROC-AUC cannot be computed for {joined(absent)}; reasons stand below the tables. Means leave these out.",
        )
    silent = [name for name, row in test.disease.rows.items() if row.known and row.precision is None]
    if silent:
        yield Caution(
            "Never predicted.",
            f"At the decision threshold {joined(silent, limit=20)} {'was' if len(silent) == 1 else 'were'} predicted "
            "on no test image; precision is undefined and recall is 0 where the finding occurs.",
        )
    if test.intervals is None:
        yield Caution("No intervals.", "No 95 % intervals were computed; how far chance matters is unknown.")
        return
    yield Caution(
        "One training.",
        "The intervals cover the chance of which patients are in the test set, not that of the training: "
        "another seed gives another model.",
    )


def _data(run: Run, absent: Modality | None) -> Iterator[Caution]:
    everyone = [*run.passports.items(), ("the server", run.central.data)]
    skipped = [f"{count(number)} at {name}" for name, data in everyone if (number := num_skipped(data))]
    if skipped:
        yield Caution("Files left out.", f"Unreadable files were skipped: {joined(skipped, limit=12)}.")
    if left_out := run.central.left_out:
        yield Caution(
            "Duplicates.",
            f"{counted(len(left_out), 'central test image')} also stood among the images that train or select a model, "
            f"pixel for pixel, and {'was' if len(left_out) == 1 else 'were'} left out of the scores." + _flattered(run),
        )
    accepted: dict[str, list[str]] = {}
    for name, data in everyone:
        for entry in data.check if data else ():
            if entry.level == "error":
                accepted.setdefault(CODES[entry.code].title, []).append(f"{name} ({count(entry.count)})")
    for title, holders in accepted.items():
        yield Caution("Accepted errors in the data.", f"{title}: {joined(holders, limit=12)}.", grave=True)
    for name, data in run.passports.items():
        train = data and data.splits.get("train")
        empty = [word for key, word in WORDS.items() if train and key != absent and getattr(train, key) == 0]
        if empty:
            yield Caution("Nothing to train on.", f"{name} has no {' and no '.join(empty)} to train on.", grave=True)
    images = run.central.data and run.central.data.splits.get("test")
    if run.test and images and images.ct and run.test.patients.ct == images.ct:
        yield Caution(
            "CT patients.",
            "Every CT test slice counts as a patient of its own. If several come from one person, the true intervals "
            "of the CT figures are wider.",
        )


def _flattered(run: Run) -> str:
    """What the headline figures would be with those images, which is what a careless test reports."""
    test, whole = run.test, run.test_with_duplicates
    wanted: tuple[tuple[str, Task, str], ...] = (
        ("mean ROC-AUC of the findings", "disease", "roc_auc"),
        ("mean ROC-AUC of the CT classes", "cancer", "roc_auc"),
        ("CT accuracy", "cancer", "accuracy"),
    )
    figures = [
        f"{words} {figure(found)} instead of {figure(test.mean(task, of))}"
        for words, task, of in wanted
        if test and whole and (found := whole.mean(task, of)) not in (None, test.mean(task, of))
    ]
    return f" Counting them too: {', '.join(figures)}." if figures else ""


def _chosen_by_few(run: Run) -> Iterator[Caution]:
    """Labels of which validation has so few that their area says little of a round."""
    scores = next((entry.central for entry in run.rounds if entry.round == run.best_round), None)
    if scores is None or run.selection.metric in ("loss", "last"):
        return
    needed = positives_needed()
    few = [
        f"{name} ({row.support})"
        for task, _ in TASKS
        for name, row in scores.head(task).rows.items()
        if row.roc_auc is not None and (row.support or 0) < needed
    ]
    if few:
        equal = run.selection.weights == "equal"
        yield Caution(
            "Selected by few.",
            f"Fewer than {needed} of the validation images that chose the round show {joined(few, limit=20)}. From "
            f"{needed} on a ROC-AUC is known to within {WANTED_ERROR:g} (standard error); in the choice "
            + ("each counted alike, and so did chance." if equal else "these counted for less."),
        )


def _groups(run: Run) -> Iterator[Caution]:
    """People for whom the model is better or worse than for others, as far as more than chance shows."""
    gaps = [gap for task, _ in TASKS for gap in gaps_of(of_task(run, task)) if gap[2] == "mean"]
    if told := striking(gaps):
        yield Caution(
            "Not alike for all.",
            f"Of {counted(len(gaps), 'gap')} between groups of patients, {len(told)} with a 95 % interval that "
            f"leaves 0 out; chance alone gives one in twenty. The widest: {told[0]} More under Subgroups.",
        )


def _always(run: Run, absent: Modality | None) -> Iterator[Caution]:
    if absent:
        heads = {"xray": "the findings, whose head", "ct": "the CT classes, whose head"}[absent]
        yield Caution(
            f"No {WORDS[absent]}.",
            f"Nobody held any: what the model says of {heads} has learnt nothing, means nothing, and is not shown.",
        )
        return
    told = [data.pairing for data in run.passports.values() if data and data.pairing]
    pairs, same = sum(one.pairs for one in told), sum(one.same_patient_pairs or 0 for one in told)
    share = f" ({count(same)} of {count(pairs)} pairs are of one patient)" if pairs else ""
    yield Caution(
        "Pairs are not patients.",
        f"The model sees one X-ray with one CT slice; as a rule these are of different people{share}. "
        "A joint reading of one patient's two examinations was not tested.",
    )
