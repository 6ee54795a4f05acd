"""The sentences that may leave a hospital: why a figure is null, why a task was not done.

A closed list: none names a file, a folder or a cell. ``{count}`` is a number of images and must be large enough,
``{setting}`` one that the lead knows or that says nothing of an image, any other hole one of a few words.
"""

import errno
import os
import re
from collections.abc import Mapping
from functools import cache

from fedthorax.common.issues.issue import CODES
from fedthorax.common.masking.hospital import OTHER_KEY

UNSAID = "The hospital does not say why."

SENTENCES = (
    "No label is known.",
    "None of the known labels ({count}) is present.",
    "All known labels ({count}) are present.",
    "None of the slices ({count}) belongs to this class.",
    "All slices ({count}) belong to this class.",
    "No slice was predicted to belong to this class.",
    "Nothing was predicted present at threshold {setting}.",
    "Nothing was predicted present at the thresholds.",
    "No finding has this figure.",
    "No patient is known to have several slices.",
    "No class has this figure.",
    "No label has ten positives and negatives both here and among the others.",
    "No label has ten positives and negatives both here and among the others. Labels that few patients have, or lack, "
    "are hidden.",
    "Hidden: beside the others it would give the figures of few patients away.",
    "Fewer than {setting} patients: hidden.",
    "Fewer than {setting} patients have it, or lack it: hidden.",
    "Fewer than {setting} images: the hospital keeps it.",
    "The hospital does not give this score away.",
    "Only one of present and absent occurs.",
    "Fewer than ten positives or negatives: descriptive, not tested.",
    "Too few patients, or no spread, to tell the error.",
    "Calibration is switched off.",
    "Fewer than {setting} slices of known class: not calibrated.",
    "Fewer than {setting} of a class, or of the others: the common calibration of all.",
    "Fewer than {setting} images with it, or without it: the common threshold and calibration.",
    "Ranks these images no better than chance: not calibrated.",
    "No label is known in the validation split, so nothing can be compared.",
    "There is no pair to train on.",
    "no X-ray has a known label for both",
    "one of the four combinations of the two has too few patients, or a count of one of them is hidden",
    *(
        f"fewer than {{setting}} patients have this {what}, or a count of so few could be computed from this one"
        for what in ("label of this finding", "class", "sex", "age", "size", "view", "scanner")
    ),
    "fewer than {setting} patients",
    "no images",
    "this hospital has no duplicate key",
    "this hospital's duplicate key cannot be used: it is missing, malformed or open to other users there",
)

INSIDE = "an error inside the hospital; its own log says which"

_HERE = "`fedthorax site check` there says which"
ERRORS = (
    INSIDE,
    "the task is for another hospital",
    "the hospital does not allow the task {task} (limits.tasks)",
    "the experiment does not name this hospital",
    "the experiment cannot be read here; compare the FedThorax versions",
    "the hospital allows {side} {setting} {what} ({limit}), but {setting} was asked",
    "the hospital has withdrawn from the consortium",
    "the hospital has paused its part for now",
    "the hospital takes no part in this run",
    "the hospital takes part in named runs only, and this is none of them",
    *(
        f"{reason}{end}"
        for reason in ("the experiment was changed after it was approved", "the hospital has not approved the run")
        for end in ("", " within {setting} s", " by the deadline that the server set")
    ),
    "stopped at the deadline that the server set",
    "stopped: the server has gone on to {task} of round {setting}",
    "stopped: the site worker is being stopped",
    "the hospital has paused while it worked",
    "the hospital has withdrawn while it worked",
    "the task ended the site worker {setting} times, so it is not tried again",
    "the hospital's own disk takes no file: {disk}",
    "the hospital cannot write down what leaves, so nothing does",
    "the hospital cannot write down what leaves, so nothing does: {disk}",
    "the hospital's log of what left lacks a line that the server has seen; it must be looked at",
    "something in the reply has no rule of what may leave, so nothing of it does",
    "model.weights names weights of the lead's: a hospital takes its weights with the task only",
    "the hospital has no {modality}, and model.absent is refused; set model.absent to token, so that the network "
    "learns what stands for them, or give the folder",
    "the task's thresholds are of other labels than the experiment's",
    "the server's network has other layers than this site's; compare the FedThorax versions",
    "segment {segment}: the values that came have another hash than the task says",
    "the hospital no longer holds its own part of the model after round {setting}; bring its folder back from a copy, "
    "or start the run anew",
    "there is no folder here in which the hospital's own part of the model could be kept",
    "the training loss became {loss} in local epoch {setting} at learning rate {setting}; lower training.learning_rate "
    "or training.clip_norm",
    *(
        f"its images cannot be used: {why}; {_HERE}"
        for why in (
            "the check finds {code}",
            "a file or folder may not be read",
            "a file or folder that its settings name is not there",
            "its disk cannot be read",
            "its folders or label files are not as expected",
        )
    ),
    "the hospital lets updates leave only masked (limits.require_masking)",
    "the hospital helps to unmask sums of at least {setting} hospitals (limits.smallest_sum), but "
    "federation.smallest_sum is {setting}",
    "this hospital trusts no roster yet, and updates are masked: `fedthorax site trust roster.json`",
    "the experiment masks updates, but the task has no keys of the other hospitals",
    "the experiment does not mask updates (federation.secure_aggregation)",
    "under masks no score of training images leaves: its counts would weigh the update",
    "a hospital of the round does not stand in the roster that this one trusts (`fedthorax site trust`)",
    "a hospital of the round has another identity than the roster that is trusted",
    "a hospital of the round trusts another roster; compare their fingerprints",
    "the key of a hospital for this run is not signed by its identity",
    "the key of a hospital for this run gives no secret",
    "two hospitals of the round have the same key",
    OTHER_KEY,
    "the round has {setting} hospitals, expected {setting} to {setting} of them",
    "the round was opened for another model",
    "segment {segment} of the update holds values that are not finite, or too large",
    "segment {segment} of the update has moved too far to be summed under masks; lower training.learning_rate",
    "the update weighs more than the lead allows to one hospital (federation.largest_hospital)",
    "nothing stands behind a part of the update that this hospital said it contributes to, so the sum would show that "
    "of fewer others",
    "what the hospital remembers of the run's masks is damaged; remove the file there, and it goes on with a new key",
    "another update was masked for round {setting} before: two of one round tell more",
    "an update of round {setting} was masked before; there is none of {setting} now",
    "a hospital that had no part in round {setting} is in its sum",
    "this hospital has masked nothing in round {setting} under this context",
    "this hospital has helped to unmask another sum of round {setting}",
    "a sum of {setting} hospitals; this hospital helps to unmask one of {setting} or more",
    "the hospital takes part in runs that are private for its patients only (limits.privacy)",
    "the hospital's steps have to be private by themselves (limits.privacy.mechanism)",
    "its patients' privacy is spent: {setting} more steps would exceed the hospital's limit (limits.privacy)",
    "privacy is for patients, but some of its training images name none",
    "the experiment is private for training patients, whose scores would tell of them",
    "private steps at learning rate {setting} are too short or long to be exact; from {setting} to {setting} they are",
    "the site worker did not finish by the deadline",
    "the site worker refused: a message of {setting} bytes; at most {setting} are taken",
    "the site worker refused the task",
    "the site worker ended {setting} times while it did the task",
    "the site worker cannot be asked",
    "the site worker has not been there for {setting} s; is `site start` running?",
    "the site worker was not there by the deadline",
    "nothing here carries models and updates; is `site start` running?",
    "the server no longer waits for this task",
    "the line to the consortium's gateway broke off {setting} times without a byte in between",
    "the consortium's gateway refuses the model or the update; the hospital's own log says why",
)
"""Why a hospital has not done a task. Everything else leaves as ``INSIDE``."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Of a disk that takes no file."""

_HOLES: Mapping[str, tuple[str, ...]] = {
    "side": ("at least", "at most"),
    "what": (
        *("rounds", "epochs in a round", "learning rate", "batch_size", "batch_size of the evaluation", "image_size"),
        *("units of a dense layer", "threads"),
    ),
    "limit": tuple(
        f"limits.{name}"
        for name in (
            *("max_rounds", "max_local_epochs", "max_learning_rate", "max_batch_size", "max_image_size", "max_units"),
            *("max_threads", "min_learning_rate"),
        )
    ),
    "task": ("describe", "train", "evaluate", "personalise", "statistics", "finish", "present", "decision", "unmask"),
    "modality": ("X-rays", "CT slices"),
    "segment": ("xray.backbone", "xray.projection", "ct.backbone", "ct.projection", "fusion", "disease", "cancer"),
    "loss": ("nan", "inf", "-inf"),
    "disk": tuple(map(os.strerror, DISK)),
    "code": tuple(CODES),
}


def is_sentence(text: str, smallest: int) -> bool:
    """Whether the text may leave a hospital that tells no count below ``smallest``."""
    found = _pattern(SENTENCES).fullmatch(text)
    return found is not None and all(number is None or int(number) >= smallest for number in found.groups())


def error_outside(text: str) -> str:
    """What may be said of an error in the words ``text``: these, where all are on the list, without what stands before
    a first colon where the rest is; else INSIDE."""
    said = _pattern(ERRORS).fullmatch
    if said(text) or all(map(said, text.split("; "))):
        return text
    after = text.partition(": ")[2]
    return after if said(after) else INSIDE


@cache
def _pattern(sentences: tuple[str, ...]) -> re.Pattern[str]:
    holes = {name: f"(?:{'|'.join(map(re.escape, words))})" for name, words in _HOLES.items()}
    holes["code"] = f"{holes['code']}(?:, {holes['code']})*"
    holes |= {"count": r"(\d{1,9})", "setting": r"[\d.]{1,12}(?:e[+-]\d\d)?"}

    def whole(sentence: str) -> str:
        parts = re.split(r"\{(\w+)\}", sentence)
        return "".join(holes[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))

    return re.compile("|".join(map(whole, sentences)))
