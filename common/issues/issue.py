"""What the check can find: a closed list of codes, each with its level and with what a person can do about it.

No advice here tells anybody to delete an image: such words have cost consortia good cases. Faults are repaired, moved,
looked at, or accepted knowingly.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class Code:
    """``level`` error: training would be misled or would lack data; warning: look at it; note: good to know.

    ``ct_advice`` stands in place of ``advice`` where CT slices are meant.
    """

    level: Level
    title: str
    advice: str
    ct_advice: str | None = None


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that the check found.

    ``count`` counts images, rows or patients, whatever ``sentence`` speaks of. ``files`` are paths relative to the
    modality's folder, all of them, the most telling first; ``groups`` puts those together that belong together, such as
    the copies of one picture.
    """

    code: str
    count: int
    sentence: str
    files: tuple[str, ...] = ()
    modality: Literal["xray", "ct"] | None = None
    groups: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def level(self) -> Level:
        return CODES[self.code].level

    @property
    def advice(self) -> str:
        code = CODES[self.code]
        return code.ct_advice if self.modality == "ct" and code.ct_advice is not None else code.advice


CODES: Mapping[str, Code] = {
    "file-no-permission": Code(
        "error",
        "Files that may not be read",
        "Give the user who runs FedThorax the right to read these files; they are not damaged.",
    ),
    "file-truncated": Code(
        "error",
        "Truncated or damaged files",
        "Copy these files again from where they came from; most often a transfer broke off. Until then the run can "
        "leave them out, named and counted: data.on_bad_file: skip.",
    ),
    "file-not-an-image": Code(
        "error",
        "Files that are no image",
        "Look at what these files are. A wrong ending can be corrected by renaming; what is no image belongs "
        "elsewhere.",
    ),
    "file-unsupported": Code(
        "error",
        "Images of a kind that is not read here",
        "The files are whole, and another name would change nothing. Export them again in the way that is named, one "
        "picture a file, as DICOM, PNG or JPEG.",
        "The files are whole, and another name would change nothing. Export them again in the way that is named; CT "
        "slices without Hounsfield units from the scanner or the archive, with the rescale slope and intercept.",
    ),
    "file-other-modality": Code(
        "error",
        "Images of another examination",
        "These are neither X-rays nor CT slices, or lie in the folder of the other: move them to where they belong.",
    ),
    "file-broken-link": Code(
        "error",
        "Links to files that do not exist",
        "Connect the disk that the links lead to, or make them again.",
    ),
    "label-without-image": Code(
        "error",
        "Labels without their image",
        "Do what is named where a file is there; look for the other images: they may lie elsewhere or have been "
        "renamed. Do not remove the rows before.",
    ),
    "labels-unreadable": Code(
        "error",
        "Labels that cannot be used",
        "Correct what is named, then check again: without labels the images are not used.",
    ),
    "unknown-class": Code(
        "error",
        "CT classes that the consortium does not have",
        "Compare the spelling with labels.cancer_classes; if it is the same class, say so under ct.classes, else ask "
        "the lead of the consortium where these slices belong.",
    ),
    "duplicate-across-splits": Code(
        "error",
        "The same picture on two sides of the split",
        "Put all copies on one side; `fedthorax check --fix-splits OUT.csv` writes such a split and no file has to be "
        "moved. As it is, the scores would be better than the model.",
    ),
    "duplicate-different-labels": Code(
        "error",
        "The same picture under different labels",
        "Ask who labelled these images which label is right, and correct the label; keep the images.",
    ),
    "patient-across-splits": Code(
        "error",
        "One patient on two sides of the split",
        "Put all images of a patient, X-rays and CT, on one side; `fedthorax check --fix-splits OUT.csv` writes such a "
        "split.",
    ),
    "patient-unclear-across-splits": Code(
        "error",
        "Ids that may be one person's on two sides of the split",
        "A spreadsheet drops zeros in front (00123), adds .0 and rounds long numbers (1.23457E+11); a hand writes p7 "
        "for P7. If the ids are one person's, write them alike in all tables; if they are different people's, write "
        "what tells them apart. Until then `fedthorax check --fix-splits OUT.csv` writes a split that keeps them "
        "together.",
    ),
    "near-duplicate-across-splits": Code(
        "warning",
        "Nearly the same picture on two sides of the split",
        "Look at the pairs: the same picture in another size, format or brightness belongs on one side. "
        "`fedthorax check --fix-splits OUT.csv` writes a split that keeps them together.",
    ),
    "near-duplicate-different-labels": Code(
        "warning",
        "Nearly the same picture under different labels",
        "Look at the pairs; if it is one examination, ask which label is right.",
        "Look at the pairs; if it is one slice, ask which label is right. Neighbouring slices may rightly differ.",
    ),
    "patient-unclear": Code(
        "warning",
        "Ids that may be one person's, or one id of several people",
        "A spreadsheet drops zeros in front (00123), adds .0, rounds long numbers (1.23457E+11) and makes days of 1-3 "
        "and MAR1; a hand writes p7 for P7. If the ids are one person's, write them alike in all tables, so that the "
        "images stay together; ids that were rounded, or made days, have to be exported again as text.",
    ),
    "duplicate-undrawn": Code(
        "warning",
        "Copies that a drawn split could put on two sides",
        "No split is given for these copies and they count as different patients, so the draw may separate them. "
        "`fedthorax check --fix-splits OUT.csv` writes a split that keeps them together.",
    ),
    "inverted": Code(
        "warning",
        "Images whose greys look inverted",
        "Look at them: bone should be bright and air dark. If they are inverted, export them again or invert the "
        "greys; "
        "if they are right as they are, leave them.",
    ),
    "sideways": Code(
        "warning",
        "Images that look turned",
        "Look at them: neck up, upright. If they are turned, turn them or export them again; if they are right as they "
        "are, leave them.",
    ),
    "single-colour": Code(
        "warning",
        "Images of a single colour",
        "Look at the source of these images: an export often fails this way while the original is intact.",
    ),
    "unlike-neighbours": Code(
        "warning",
        "Pictures far flatter, darker or brighter than their neighbours",
        "Look at them beside others: such a picture was often exported without its window, with the wrong number of "
        "bits, or as one grey. If so, export it again; if it is right as it is, leave it.",
    ),
    "colour-photo": Code(
        "warning",
        "Colour pictures among grey ones",
        "Look at them: a photograph or a screenshot of a radiograph should be replaced by the original.",
    ),
    "annotated": Code(
        "warning",
        "Writing or drawn marks in the picture",
        "Look at them: names must be covered before anybody shares the image, and marks that tell the diagnosis teach "
        "the model to read marks. Use the originals without marks where there are any.",
    ),
    "shortcut": Code(
        "warning",
        "A property of the file gives a label away",
        "The model can learn this instead of the disease. Find out why the images with the label differ (another "
        "scanner, another export, another source) and read scores with care; images of both kinds from one "
        "source help.",
    ),
    "image-without-label": Code(
        "warning",
        "Images without labels",
        "These images are not used. If they should be, add a row or put them into a class folder; else nothing is to "
        "be done.",
    ),
    "framing": Code(
        "note",
        "Unusual framing",
        "Look at a few: cropped, wide borders, off centre, or no frontal chest. Many are perfectly good images.",
    ),
    "duplicate-within-split": Code(
        "note",
        "The same picture several times on one side",
        "Nothing has to be done: copies on one side count more than once and mislead nobody about the scores.",
    ),
    "near-duplicate-within-split": Code(
        "note",
        "Nearly the same picture several times on one side",
        "Nothing has to be done; two exports of one radiograph look like this.",
        "Nothing has to be done; neighbouring slices of one patient look like this.",
    ),
    "patient-unknown": Code(
        "note",
        "Images without a patient",
        "Each counts as a patient of its own, so images of one person may stand on two sides. Add the patient's "
        "pseudonym if it is known.",
        "Each single slice, series or volume counts as a patient of its own, so those of one person may stand on two "
        "sides. Add the patient's pseudonym if it is known.",
    ),
    "slices-passed-over": Code(
        "note",
        "CT slices that data.ct_slices passes over",
        "The experiment has chosen so; nothing has to be done.",
    ),
    "remark": Code("note", "Remarks on the folders", "Read it; nothing has to be done."),
}
"""By code, the gravest first."""

ERROR_CODES = frozenset(code for code, meaning in CODES.items() if meaning.level == "error")
ACCEPTABLE = ERROR_CODES - {"labels-unreadable", "unknown-class"}  # without labels there is nothing to go on with
UNUSABLE_FILES = frozenset(code for code in CODES if code.startswith(("file-", "label-without")))


def in_order(issues: Iterable[Issue]) -> tuple[Issue, ...]:
    """Errors, then warnings, then notes, each in the order of ``CODES``."""
    rank = {code: position for position, code in enumerate(CODES)}
    return tuple(sorted(issues, key=lambda issue: (LEVELS.index(issue.level), rank[issue.code], issue.modality or "")))
