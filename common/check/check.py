"""One hospital's check, from the folders to what is found."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from fedthorax.common.check.counts import counts
from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.check.facts_store import FactsStore
from fedthorax.common.check.holdings import Holdings, hold
from fedthorax.common.check.neighbours import near_duplicate_issues, near_pictures, neighbour_issues
from fedthorax.common.check.shortcuts import Shortcut, shortcut_issues, shortcuts
from fedthorax.common.check.survey import Progress, Surveyor
from fedthorax.common.check.suspects import outlier_remarks, suspect_issues
from fedthorax.common.check.target import Target
from fedthorax.common.config.data import SplitFractions
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.bad_files import bad_file_issues
from fedthorax.common.hospital.copies import Group, duplicate_issues, patient_issues, same_pictures
from fedthorax.common.hospital.labelled import KINDS, LabelledImage
from fedthorax.common.hospital.patient_ids import unclear_issues, unclear_patients
from fedthorax.common.issues.issue import Issue, Level, in_order
from fedthorax.common.records.records import SPLITS, CtRecord, ImageRef, Split, XrayRecord
from fedthorax.common.records.split_file import relative_name
from fedthorax.common.records.splits import assign_splits

Record = TypeVar("Record", XrayRecord, CtRecord)
Told = Level | Literal["accepted error"]
TOLD: tuple[Told, ...] = ("error", "accepted error", "warning", "note")


def fixed_splits(
    xray: Sequence[XrayRecord],
    ct: Sequence[CtRecord],
    together: Iterable[Sequence[LabelledImage]],
    fractions: SplitFractions,
    seed: int,
) -> tuple[tuple[XrayRecord, ...], tuple[CtRecord, ...]]:
    """The records on their new sides; whose images are joined by ``together``, a patient or both, share one.

    Records that have a split keep it as far as that goes: a group that stands on two sides goes to train if any of it
    is there, else to valid, so that no image moves from what was trained on into what is scored. Groups without any
    split are drawn as patients are, by ``fractions``.
    """
    records: list[XrayRecord | CtRecord] = [*xray, *ct]
    patient_of = {record.ref: record.patient for record in records}
    parents = {patient: patient for patient in patient_of.values()}
    for group in together:
        patients = [patient_of[image.ref] for image in group if image.ref in patient_of]
        for patient in patients[1:]:
            parents[_root(patient, parents)] = _root(patients[0], parents)
    groups = {patient: _root(patient, parents) for patient in parents}
    sides: dict[str, Split] = {}
    for record in records:
        if record.split is not None:
            held = sides.get(groups[record.patient], record.split)
            sides[groups[record.patient]] = min(held, record.split, key=SPLITS.index)

    def grouped(held: Sequence[Record]) -> list[Record]:
        return [replace(one, patient=groups[one.patient], split=sides.get(groups[one.patient])) for one in held]

    drawn_xray, drawn_ct = assign_splits(grouped(xray), grouped(ct), fractions, seed)
    return (
        tuple(replace(drawn, patient=record.patient) for drawn, record in zip(drawn_xray, xray, strict=True)),
        tuple(replace(drawn, patient=record.patient) for drawn, record in zip(drawn_ct, ct, strict=True)),
    )


def _root(patient: str, parents: dict[str, str]) -> str:
    """The one that stands for all joined with ``patient``; the way to it is shortened for the next question."""
    root = patient
    while parents[root] != root:
        root = parents[root]
    while parents[patient] != root:
        parents[patient], patient = root, parents[patient]
    return root


@dataclass(frozen=True)
class SiteCheck:
    """``together`` are the groups that one side of a split should hold whole: copies, near copies, and people of whom
    it is unclear whether they are one.
    """

    target: Target
    holdings: Holdings
    facts: dict[ImageRef, ImageFacts]
    issues: tuple[Issue, ...]
    counts: dict[str, Any]
    shortcuts: tuple[Shortcut, ...]
    together: tuple[Group, ...]
    num_decoded: int

    def level(self, issue: Issue) -> Told:
        """An error with which the experiment goes on is an accepted one; a folder or table that cannot be read, an
        issue without files, stops every run."""
        accepted = issue.level == "error" and issue.files and issue.code in self.target.accepted
        return "accepted error" if accepted else issue.level

    def advice(self, issue: Issue) -> str:
        return "The experiment accepts it." if self.level(issue) == "accepted error" else issue.advice

    @property
    def levels(self) -> dict[Told, int]:
        """How many issues of each level."""
        found = Counter(map(self.level, self.issues))
        return {level: found[level] for level in TOLD}

    @property
    def level_words(self) -> dict[Told, str]:
        """The same in words; accepted errors only where there are some."""
        levels = self.levels.items()
        return {level: number_of(number, level) for level, number in levels if number or level != "accepted error"}

    @property
    def meaning(self) -> str:
        """What a run does with these data, in a sentence."""
        if self.levels["error"]:
            return "A run refuses these data until the errors are repaired or accepted (data.accept)."
        if self.levels["accepted error"]:
            return "A run takes these data: the experiment accepts the errors, and its report will name them."
        if not any(self.holdings.label_names.values()):
            return "A run needs labels too; nothing else in these images stands in its way."
        return "A run takes these data."

    def fixed_split_rows(self) -> list[tuple[str, str, Split]]:
        """(modality, file, split) for ``write_split_file``."""
        held = self.holdings
        xray, ct = fixed_splits(held.xray, held.ct, self.together, self.target.fractions, self.target.seed or 0)
        folders = self.target.folders
        rows = [("xray", relative_name(record.path, folders["xray"]), record.split) for record in xray]
        rows += [("ct", relative_name(record.path, folders["ct"]), record.split) for record in ct]
        return [(modality, file, split) for modality, file, split in rows if split is not None]


def check_site(target: Target, store: FactsStore, progress: Progress | None = None) -> SiteCheck:
    """Read all images of ``target`` once and ask everything of them; ``progress`` gets images done and all images."""
    holdings = hold(target)
    issues = list(holdings.issues)
    facts: dict[ImageRef, ImageFacts] = {}
    num_decoded, total = 0, len(holdings.images)
    for modality in KINDS:
        refs = [image.ref for image in holdings.images if image.modality == modality]
        surveyor = Surveyor(store, modality, target.ct_windows)
        found = surveyor.survey(refs, _shifted(progress, len(facts), total))
        facts |= found.facts
        num_decoded += found.num_decoded
        bad = (*holdings.bad.get(modality, ()), *found.unreadable)
        issues += bad_file_issues(bad, modality, target.folders[modality]) if bad else []
    images = holdings.images
    copies = same_pictures(images, {ref: fact.digest for ref, fact in facts.items()})
    near = near_pictures(images, facts)
    predictive = tuple(shortcuts(images, facts, holdings.label_names))
    issues += duplicate_issues(copies)
    issues += near_duplicate_issues(near)
    unclear = unclear_patients(images)
    issues += patient_issues(images) + unclear_issues(unclear)
    issues += suspect_issues(images, facts) + neighbour_issues(images, facts) + outlier_remarks(images, facts)
    issues += shortcut_issues(predictive)
    return SiteCheck(
        target,
        holdings,
        facts,
        in_order(issues),
        counts(images, facts, holdings.label_names),
        predictive,
        (*copies, *near, *unclear),
        num_decoded,
    )


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
