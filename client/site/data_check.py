"""The hospital's images in ``fedthorax site check``: the same check as ``fedthorax check``, in short sentences."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Literal

from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.settings import SiteSettings
from fedthorax.common.check.check import SiteCheck, Told, check_site
from fedthorax.common.check.facts_store import FactsStore, default_folder
from fedthorax.common.check.page import write_page
from fedthorax.common.check.survey import Progress
from fedthorax.common.check.target import Target, in_experiment, with_labels
from fedthorax.common.config import Experiment
from fedthorax.common.config.data import SourceConfig
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.labelled import KINDS
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality

Mark = Literal["good", "warning", "problem"]
Said = tuple[str, Mark, str]  # subject, mark, words
Bar = Callable[[], AbstractContextManager[Progress | None]]

_MARKS: dict[Told, Mark] = {"error": "problem", "accepted error": "warning", "warning": "warning", "note": "good"}
_EXAMPLES = 3


def no_bar() -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def data_findings(
    folder: SiteFolder, settings: SiteSettings, experiment: Experiment | None, bar: Bar = no_bar
) -> Iterator[Said]:
    """What the check says of the images, and where its page with thumbnails lies.

    With an experiment its findings, classes, windows and seed hold, and errors that it accepts are warnings. What was
    read once is remembered, here and for ``fedthorax check``. OSError or ValueError where a folder is missing or the
    page cannot be written.
    """
    with FactsStore(default_folder()) as store, bar() as progress:
        done = check_site(target_of(settings, experiment), store, progress)
    for modality, words in KINDS.items():
        if getattr(settings, modality) is None:
            yield words, "good", "this hospital has none"
            continue
        held = done.counts[modality]
        told = f"{number_of(held['images'], 'image')} of {number_of(held['patients'], 'patient')}"
        yield words, "good" if held["images"] else "problem", told
        if held["images"]:
            yield from _labels(done, modality)
    if experiment is not None:
        yield from _splits(done, either=experiment.model.absent == "token")
    for issue in done.issues:
        if issue.level != "note":
            subject = KINDS[issue.modality] if issue.modality else "images"
            yield subject, _MARKS[done.level(issue)], _words(issue, done.advice(issue))
    notes = sum(issue.level == "note" for issue in done.issues)
    page = folder.state / "check.html"
    write_page(page, [done])
    yield "all about the images", "good", f"{number_of(notes, 'further note')}, thumbnails and file names: {page}"


def target_of(settings: SiteSettings, experiment: Experiment | None) -> Target:
    if experiment is None:
        xray = settings.xray and with_labels(settings.xray)
        return Target(settings.name, SourceConfig(xray=xray, ct=settings.ct, splits=settings.splits))
    source = SourceConfig(xray=settings.xray, ct=settings.ct, splits=settings.splits)
    return in_experiment(experiment, settings.name, source, experiment.data.splits)


def _labels(done: SiteCheck, modality: Modality) -> Iterator[Said]:
    names = done.holdings.label_names.get(modality, ())
    subject, what = ("X-ray findings", "findings") if modality == "xray" else ("CT classes", "classes")
    if names:
        yield subject, "good", ", ".join(names)
    else:
        yield subject, "problem", f"no {what} are known of these images, so a run cannot use them"


def _splits(done: SiteCheck, either: bool) -> Iterator[Said]:
    for split in ("train", "valid", "test"):
        xray, ct = (done.counts[modality]["splits"].get(split, {"images": 0})["images"] for modality in KINDS)
        yield f"{split} split", "good", f"{number_of(xray, 'X-ray')}, {number_of(ct, 'CT slice')}"
        if split == "train" and not (max if either else min)(xray, ct):
            words = "an X-ray or a CT slice" if either else "an X-ray and a CT slice"
            yield "train split", "problem", f"it needs {words} to train on"


def _words(issue: Issue, advice: str) -> str:
    named = "; ".join(issue.files[:_EXAMPLES])
    more = f" and {len(issue.files) - _EXAMPLES:,} more" if len(issue.files) > _EXAMPLES else ""
    return f"{issue.sentence} ({issue.code}){': ' + named + more if named else ''}. {advice}"
