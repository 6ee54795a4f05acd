"""Exact copies, which loading finds as the check does: the same pixels on two sides of a split, or under two labels."""

from collections.abc import Iterable, Mapping, Sequence

from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, differ, kind, names, splits_of
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import SPLITS, ImageRef

Group = tuple[LabelledImage, ...]


def same_pictures(images: Iterable[LabelledImage], digests: Mapping[ImageRef, str]) -> list[Group]:
    """Groups of two or more images of one modality with equal decoded pixels, whatever their file format."""
    groups: dict[tuple[str, str], list[LabelledImage]] = {}
    for image in images:
        if image.ref in digests:
            groups.setdefault((image.modality, digests[image.ref]), []).append(image)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def duplicate_issues(groups: Sequence[Group]) -> list[Issue]:
    """What equal pictures mean for the split and the labels. Images whose split is yet to be drawn are on no side."""
    issues = []
    for modality in KINDS:
        ours = [group for group in groups if group[0].modality == modality]
        torn = [group for group in ours if len(splits_of(group)) > 1]
        undrawn = [group for group in ours if _undrawn(group)]
        quiet = [group for group in ours if len(splits_of(group)) < 2 and not _undrawn(group)]
        issues += across_splits(torn, modality, "duplicate-across-splits", "same pixels as")
        for code, groups_of_code, words in (
            ("duplicate-different-labels", [group for group in ours if differ(group)], " under different labels"),
            ("duplicate-undrawn", undrawn, ", without a given split and as different patients"),
            ("duplicate-within-split", quiet, ", each on one side only"),
        ):
            issues += grouped_issue(groups_of_code, modality, code, "picture", f"are {{}}{words}")
    return issues


def patient_issues(images: Iterable[LabelledImage]) -> list[Issue]:
    """Patients for whom two different splits are given, X-rays and CT slices together. The sentence names nobody: it
    may leave the hospital as the reason of a refusal."""
    by_patient: dict[str, list[LabelledImage]] = {}
    for image in images:
        if image.split is not None:
            by_patient.setdefault(image.patient, []).append(image)
    torn = [(patient, group) for patient, group in sorted(by_patient.items()) if len(splits_of(group)) > 1]
    if not torn:
        return []
    number = number_of(len(torn), "patient stands", "patients stand")
    return [
        Issue(
            "patient-across-splits",
            len(torn),
            f"{number} on two sides of the split",
            tuple(image.name for _, group in torn for image in group),
            groups=tuple(names(group) for _, group in torn),
        )
    ]


def across_splits(torn: Sequence[Group], modality: Modality, code: str, likeness: str) -> list[Issue]:
    """Counts the images of the later split, which is the one that is scored."""
    told, later = [], dict[LabelledImage, None]()
    for position, split in enumerate(SPLITS):
        for earlier in SPLITS[:position]:
            shared = [image for group in torn if earlier in splits_of(group) for image in group if image.split == split]
            if shared:
                told.append(f"{kind(modality, len(shared))} in {split}: {likeness} one in {earlier}")
                later |= dict.fromkeys(shared)
    if not torn:
        return []
    groups = tuple(names(group) for group in torn)
    return [Issue(code, len(later), "; ".join(told), names(list(later)), modality, groups)]


def grouped_issue(groups: Sequence[Group], modality: Modality, code: str, one: str, sentence: str) -> list[Issue]:
    if not groups:
        return []
    files = tuple(dict.fromkeys(image.name for group in groups for image in group))
    words = f"{kind(modality, len(files))} {sentence.format(number_of(len(groups), one))}"
    return [Issue(code, len(files), words, files, modality, tuple(names(group) for group in groups))]


def _undrawn(group: Group) -> bool:
    """Whether a draw could tear the group apart."""
    drawn_patients = {image.patient for image in group if image.split is None}
    return bool(drawn_patients) and len({image.patient for image in group}) > 1
