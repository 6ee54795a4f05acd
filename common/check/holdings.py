"""What a target's folders hold, before a picture is decoded; a fault of one folder or file does not hide the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.check.target import Target, tables_in, why_no_labels
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.bad_files import record_issues
from fedthorax.common.hospital.ct_folder import class_questions
from fedthorax.common.hospital.ct_series import CtSlice, find_slices
from fedthorax.common.hospital.labelled import LabelledImage, labelled_images, slice_name
from fedthorax.common.hospital.scan import scan
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.body_region import no_chest_radiograph
from fedthorax.common.records.dicom_header import Header
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.listing import list_images
from fedthorax.common.records.patients import headers
from fedthorax.common.records.records import Attributes, BadFile, CtRecord, ImageRef, XrayRecord
from fedthorax.common.records.table import TABLES, listed


@dataclass(frozen=True)
class Holdings:
    """``xray`` and ``ct`` are the records as the folders give them; ``images`` are the same on their sides, drawn where
    the run's seed is known, and after them the loose images without any label. ``bad`` are what cannot be used, or is
    good and not wanted here.
    """

    label_names: Mapping[Modality, tuple[str, ...]]
    images: tuple[LabelledImage, ...]
    xray: tuple[XrayRecord, ...]
    ct: tuple[CtRecord, ...]
    issues: tuple[Issue, ...]
    bad: Mapping[Modality, Sequence[BadFile]]


def hold(target: Target) -> Holdings:
    """Raises FileNotFoundError where a folder is missing, and ValueError where the split file cannot be used."""
    issues: list[Issue] = []
    loose: list[LabelledImage] = []
    bad: dict[Modality, list[BadFile]] = {"xray": [], "ct": []}
    if target.source is None:
        if target.loose is not None:
            _loose(target, target.loose, target.loose_modality, issues, loose, bad)
        return Holdings({}, tuple(loose), (), (), tuple(issues), bad)
    folders, unusable = target.source.by_modality, set[Modality]()

    def on_fault(modality: Modality, error: Exception) -> None:
        """The folder's images are still looked at, without labels."""
        unusable.add(modality)
        if not folders[modality].is_dir():
            raise error
        code = "file-no-permission" if isinstance(error, PermissionError) else "labels-unreadable"
        issues.append(Issue(code, 1, str(error), modality=modality))
        if code == "labels-unreadable":
            _loose(target, folders[modality], modality, issues, loose, bad, without_label=False)

    found = scan(target.source, target.findings, target.classes, target.ct_slices, on_fault)
    for modality in folders:
        records: FolderRecords[XrayRecord] | FolderRecords[CtRecord] = found.xray if modality == "xray" else found.ct
        bad[modality] += (*records.bad, *records.left_out)
        issues += record_issues(records, modality)
        issues += [Issue("remark", 1, remark, modality=modality) for remark in records.remarks]
    if found.strange:
        told, mend = class_questions(tuple(found.strange), found.ct.labels)
        number = number_of(len(found.strange), "class", "classes")
        words = f"{number} not among {', '.join(found.ct.labels)}: {told}. {mend}".rstrip()
        files = [slice_name(record.ref, folders["ct"]) for records in found.strange.values() for record in records]
        issues.append(Issue("unknown-class", len(found.strange), words, tuple(files), "ct"))
    issues += [Issue("remark", 1, note) for note in found.notes]
    xray, ct = found.xray.records, found.ct.records
    if target.seed is not None:
        xray, ct = found.drawn(target.name, target.fractions, target.seed)
    labels = {"xray": found.xray.labels, "ct": found.ct.labels}
    return Holdings(
        {modality: labels[modality] for modality in folders if modality not in unusable},
        (*labelled_images(xray, ct, folders), *loose),
        found.xray.records,
        found.ct.records,
        tuple(issues),
        bad,
    )


def _loose(
    target: Target,
    folder: Path,
    modality: Modality,
    issues: list[Issue],
    loose: list[LabelledImage],
    bad: dict[Modality, list[BadFile]],
    without_label: bool = True,
) -> None:
    """Images of which only pictures, patients and series are checked.

    Where nobody has said what they are, the DICOM header does. CT files are put into series, and what is no axial chest
    slice is left out, as in a folder with classes.
    """
    listing = list_images(folder)
    images = listing.images
    header_of = headers(list(images.values()))

    def shown(name: str, path: Path) -> Modality:
        header = header_of.get(path)
        is_ct = name.lower().endswith((".nii", ".nii.gz")) or (header is not None and header.modality == "CT")
        return "ct" if is_ct and without_label else modality

    ct = {name: path for name, path in images.items() if shown(name, path) == "ct"}
    bad["xray"] += listing.dead_but({path.absolute() for path in images.values()})
    for name, path in images.items():
        if name not in ct:
            header = header_of.get(path)
            if header and (reason := no_chest_radiograph(header)):
                bad["xray"].append(BadFile(path, reason, fault="not_used"))
                continue
            patient = (header.patient_id if header else None) or f"image {name}"
            attributes = header.attributes if header else Attributes()
            known = bool(header and header.patient_id)
            loose.append(LabelledImage("xray", ImageRef(path), name, patient, (), None, attributes, known))
    slices = find_slices(ct, target.ct_slices)
    loose += [_loose_slice(slice_, folder) for slice_ in slices.slices]
    bad["ct"] += (*slices.bad, *slices.left_out)
    if slices.dropped:
        words = f"data.ct_slices passes over {slices.dropped} of {slices.dropped + len(slices.slices)} CT slices"
        issues.append(Issue("slices-passed-over", slices.dropped, words, modality="ct"))
    in_series = [header for path, header in header_of.items() if path in set(ct.values()) and header.series]
    if in_series:
        used = [slice_.header for slice_ in slices.slices if slice_.header]
        words = (
            f"{_series_words(in_series, 'file')}, of which the axial chest slices are {_series_words(used, 'slice')}"
        )
        issues.append(Issue("remark", len(in_series), words, modality="ct"))
    for table in tables_in(folder) if without_label else ():
        words = f"{table.name}: not taken for the label file: {why_no_labels(table)}"
        issues.append(Issue("remark", 1, words, modality=modality))
    if without_label:
        if deeper := [name for name in listing.others if "/" in name and name.lower().endswith(TABLES)]:
            words = (
                f"not read, as it lies deeper: {listed(deeper)}; if it holds the labels, check the folder it lies in"
            )
            issues.append(Issue("remark", len(deeper), words, modality=modality))
        words = f"{number_of(len(images), 'image')} without any labels; only pictures, patients and series are checked"
        issues.append(Issue("remark", len(images), words))


def _series_words(held: Sequence[Header], what: str) -> str:
    """``24 files in 24 series of 10 patients``; who bears no patient id is not counted as one."""
    series = len({header.series for header in held if header.series})
    patients = len({header.patient_id for header in held if header.patient_id})
    return f"{number_of(len(held), what)} in {series:,} series of {number_of(patients, 'patient')}"


def _loose_slice(slice_: CtSlice, folder: Path) -> LabelledImage:
    header, ref = slice_.header, slice_.image
    patient = (header.patient_id or header.series if header else "") or f"image {slice_.name}"
    attributes = header.attributes if header else Attributes()
    name = slice_name(ref, folder)
    known = bool(header and header.patient_id)
    return LabelledImage("ct", ref, name, patient, (math.nan,), None, attributes, known)
