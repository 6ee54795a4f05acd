"""What a target's folders hold, before a picture is decoded; a fault of one folder or file does not hide the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedthorax.common.check.target import Target, class_folders, findings_in
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.bad_files import bad_file_issues
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.common.hospital.ct_series import CtSlice, find_slices
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, counted, kind, labelled_images, slice_name
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.dicom_header import Header
from fedthorax.common.records.finding_names import did_you_mean
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.listing import list_images, normal_name
from fedthorax.common.records.patients import headers
from fedthorax.common.records.records import Attributes, BadFile, CtRecord, ImageRef, XrayRecord
from fedthorax.common.records.split_file import read_split_file, split_keys, split_notes, with_splits
from fedthorax.common.records.splits import assign_splits
from fedthorax.common.records.table import listed
from fedthorax.common.records.xray_folder import xray_records


@dataclass(frozen=True)
class Holdings:
    """``xray`` and ``ct`` are the records as the folders give them; ``images`` are the same on their sides, drawn where
    the run's seed is known, and after them the loose images without any label.
    """

    label_names: Mapping[Modality, tuple[str, ...]]
    images: tuple[LabelledImage, ...]
    xray: tuple[XrayRecord, ...]
    ct: tuple[CtRecord, ...]
    issues: tuple[Issue, ...]


@dataclass
class _Findings:
    issues: list[Issue] = field(default_factory=list)
    loose: list[LabelledImage] = field(default_factory=list)
    label_names: dict[Modality, tuple[str, ...]] = field(default_factory=dict)


def hold(target: Target) -> Holdings:
    """Raises FileNotFoundError where a folder is missing, and ValueError where the split file cannot be used."""
    found = _Findings()
    xray, ct = _xray(target, found), _ct(target, found)
    if target.loose is not None:
        _loose(target, target.loose, target.loose_modality, found)
    xray, ct = _with_split_file(target, xray, ct, found)
    sided_xray, sided_ct = xray, ct
    if target.seed is not None:
        seed = derive_seed(target.seed, "splits", target.name)
        sided_xray, sided_ct = assign_splits(xray, ct, target.fractions, seed, keep_torn=True)
    images = labelled_images(sided_xray, sided_ct, target.folders)
    found.issues += _patients_unknown(images)
    return Holdings(found.label_names, (*images, *found.loose), xray, ct, tuple(found.issues))


def _xray(target: Target, found: _Findings) -> tuple[XrayRecord, ...]:
    source = target.xray
    if source is None:
        return ()
    try:
        findings = target.findings or (findings_in(source.labels) if source.labels else ())
        records = xray_records(source, findings)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        return _unreadable("xray", target, source.folder, error, found)
    found.label_names["xray"] = findings
    without = _without_record(source.folder, {record.path for record in records.records}, records.bad)
    if without:
        words = f"{kind('xray', len(without))} without a row in the label file"
        found.issues.append(Issue("image-without-label", len(without), words, tuple(without), "xray"))
    _add_notes(records, "xray", source.folder, found, skip="have no row in")
    return records.records


def _ct(target: Target, found: _Findings) -> tuple[CtRecord, ...]:
    source = target.ct
    if source is None:
        return ()
    try:
        folders = class_folders(source.folder) if source.folder.is_dir() else ()
        classes = tuple(normal_name(name) for name in target.classes or folders)
        own = {normal_name(name) for name in source.classes}
        unknown = [name for name in folders if name not in classes and name not in own]
        records = ct_records(source, (*classes, *unknown), target.ct_slices)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        return _unreadable("ct", target, source.folder, error, found)
    found.label_names["ct"] = classes
    if unknown:
        strange = [record for record in records.records if record.cancer_class >= len(classes)]
        told = listed([name + did_you_mean(name, classes) for name in unknown])
        words = f"{counted(len(unknown), 'class folder')} not among {', '.join(classes)}: {told}"
        files = tuple(slice_name(record.path, source.folder, record.frame) for record in strange)
        found.issues.append(Issue("unknown-class", len(unknown), words, files, "ct"))
    _add_notes(records, "ct", source.folder, found)
    return tuple(record for record in records.records if record.cancer_class < len(classes))


def _unreadable(modality: Modality, target: Target, folder: Path, error: Exception, found: _Findings) -> tuple[()]:
    """The folder's images are still looked at, without labels."""
    if not folder.is_dir():
        raise error
    code = "file-no-permission" if isinstance(error, PermissionError) else "labels-unreadable"
    found.issues.append(Issue(code, 1, str(error), modality=modality))
    if code == "labels-unreadable":
        _loose(target, folder, modality, found, without_label=False)
    return ()


def _loose(target: Target, folder: Path, modality: Modality, found: _Findings, without_label: bool = True) -> None:
    """Images of which only pictures, patients and series are checked.

    Where nobody has said what they are, the DICOM header does. CT files are put into series, and what is no axial chest
    slice is left out, as in a folder with classes.
    """
    images = list_images(folder).images
    header_of = headers(list(images.values()))

    def shown(name: str, path: Path) -> Modality:
        header = header_of.get(path)
        is_ct = name.lower().endswith((".nii", ".nii.gz")) or (header is not None and header.modality == "CT")
        return "ct" if is_ct and without_label else modality

    ct = {name: path for name, path in images.items() if shown(name, path) == "ct"}
    for name, path in images.items():
        if name not in ct:
            header = header_of.get(path)
            patient = (header.patient_id if header else None) or f"image {name}"
            attributes = header.attributes if header else Attributes()
            found.loose.append(LabelledImage("xray", ImageRef(path), name, patient, (), None, attributes))
    slices = find_slices(ct, target.ct_slices)
    found.loose += [_loose_slice(slice_, folder) for slice_ in slices.slices]
    found.issues += bad_file_issues((*slices.bad, *slices.left_out), "ct", folder)
    if slices.dropped:
        words = f"data.ct_slices passes over {slices.dropped} of {slices.dropped + len(slices.slices)} CT slices"
        found.issues.append(Issue("remark", slices.dropped, words, modality="ct"))
    in_series = [header for path, header in header_of.items() if path in set(ct.values()) and header.series]
    if in_series:
        used = [slice_.header for slice_ in slices.slices if slice_.header]
        words = (
            f"{_series_words(in_series, 'file')}, of which the axial chest slices are {_series_words(used, 'slice')}"
        )
        found.issues.append(Issue("remark", len(in_series), words, modality="ct"))
    if without_label:
        words = f"{counted(len(images), 'image')} without any labels; only pictures, patients and series are checked"
        found.issues.append(Issue("remark", len(images), words))


def _series_words(held: Sequence[Header], what: str) -> str:
    """``24 files in 24 series of 10 patients``; who bears no patient id is not counted as one."""
    series = len({header.series for header in held if header.series})
    patients = len({header.patient_id for header in held if header.patient_id})
    return f"{counted(len(held), what)} in {series:,} series of {counted(patients, 'patient')}"


def _loose_slice(slice_: CtSlice, folder: Path) -> LabelledImage:
    header, ref = slice_.header, slice_.image
    patient = (header.patient_id or header.series if header else "") or f"image {slice_.name}"
    attributes = header.attributes if header else Attributes()
    name = slice_name(ref.path, folder, ref.frame)
    return LabelledImage("ct", ref, name, patient, (math.nan,), None, attributes)


def _without_record(folder: Path, used: set[Path], bad: Sequence[BadFile]) -> list[str]:
    known = {path.absolute() for path in used} | {file.path.absolute() for file in bad}
    return [name for name, path in list_images(folder).images.items() if path.absolute() not in known]


def _add_notes(
    records: FolderRecords[XrayRecord] | FolderRecords[CtRecord],
    modality: Modality,
    folder: Path,
    found: _Findings,
    skip: str | None = None,
) -> None:
    found.issues += bad_file_issues((*records.bad, *records.left_out), modality, folder)
    for note in records.notes:
        if note.startswith("no patient is known") or (skip is not None and skip in note):
            continue  # told under a code of their own
        if records.left_out and "are no axial chest slices" in note:
            continue
        found.issues.append(Issue("remark", 1, note, modality=modality))


def _with_split_file(
    target: Target, xray: tuple[XrayRecord, ...], ct: tuple[CtRecord, ...], found: _Findings
) -> tuple[tuple[XrayRecord, ...], tuple[CtRecord, ...]]:
    if target.split_file is None:
        return xray, ct
    splits = read_split_file(target.split_file)
    no_folder = Path()
    xray_folder, ct_folder = target.folders.get("xray", no_folder), target.folders.get("ct", no_folder)
    xray, ct = with_splits(xray, "xray", xray_folder, splits), with_splits(ct, "ct", ct_folder, splits)
    names = split_keys(xray, ct, xray_folder, ct_folder)
    found.issues += [Issue("remark", 1, note) for note in split_notes(target.split_file, splits, names)]
    return xray, ct


def _patients_unknown(images: Sequence[LabelledImage]) -> list[Issue]:
    """An image of which nobody knows the patient bears its own name as one."""
    issues = []
    for modality in KINDS:
        ours = [image for image in images if image.modality == modality]
        own = [image.name for image in ours if image.patient.startswith(("X-ray ", "CT "))]
        if own:
            words = f"no patient is known for {len(own):,} of {kind(modality, len(ours))}"
            issues.append(Issue("patient-unknown", len(own), words, tuple(own), modality))
    return issues
