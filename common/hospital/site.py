"""All images of one hospital, or of the server, ready to be paired."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import DataConfig, SourceConfig, SplitFractions
from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.bad_files import bad_file_code, bad_file_issues
from fedthorax.common.hospital.copies import duplicate_issues, patient_issues, same_pictures
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.hospital.labelled import labelled_images
from fedthorax.common.issues.admission import admit
from fedthorax.common.issues.issue import in_order
from fedthorax.common.issues.unusable import UnusableDataError
from fedthorax.common.pixels.cache import DecodedImages, decode_all
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.records import SPLITS, BadFile, CtRecord, ImageRef, Split, XrayRecord
from fedthorax.common.records.split_file import read_split_file, split_keys, split_notes, with_splits
from fedthorax.common.records.splits import assign_splits
from fedthorax.common.records.xray_folder import xray_records

Record = TypeVar("Record", XrayRecord, CtRecord)


def load_site(
    name: str,
    source: SourceConfig,
    labels: LabelsConfig,
    data: DataConfig,
    fractions: SplitFractions,
    image_size: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> SiteImages:
    """The X-rays and CT slices of ``source``, split by patient and decoded; a split without images is empty.

    Pictures that are not what is wanted here, such as scout views, stand in ``skipped`` and are no error.
    ``data.on_bad_file`` decides whether files that cannot be read end in a ValueError that names the first five, or in
    ``skipped``. ``progress`` is called with files done and all files. Errors begin with the name of the site.

    What `fedthorax check` would find in patients, splits, labels and equal pixels is found here too, without reading
    anything again: errors that ``data.accept`` does not name are a ValueError, all others stand in ``issues``.
    """
    try:
        return _load(name, source, labels, data, fractions, image_size, seed, progress)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise type(error)(f"{name}: {error}") from error
    except UnusableDataError as error:
        raise UnusableDataError(f"{name}: {error}", error.outside) from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _load(
    name: str,
    source: SourceConfig,
    labels: LabelsConfig,
    data: DataConfig,
    fractions: SplitFractions,
    image_size: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> SiteImages:
    found_xray: FolderRecords[XrayRecord]
    found_ct: FolderRecords[CtRecord]
    found_xray = xray_records(source.xray, labels.findings) if source.xray else FolderRecords((), (), ())
    found_ct = ct_records(source.ct, labels.cancer_classes, data.ct_slices) if source.ct else FolderRecords((), (), ())
    bad: dict[Modality, list[BadFile]] = {"xray": list(found_xray.bad), "ct": list(found_ct.bad)}
    _stop_if_bad(bad, data)
    folders: dict[Modality, Path] = {}
    if source.xray:
        folders["xray"] = source.xray.folder
    if source.ct:
        folders["ct"] = source.ct.folder
    given_xray, given_ct, notes = _given_splits(source, found_xray.records, found_ct.records)
    seed = derive_seed(seed, "splits", name)
    xray, ct = assign_splits(given_xray, given_ct, fractions, seed, keep_torn=True)
    images = labelled_images(xray, ct, folders)
    issues = patient_issues(images)
    admit(issues, data.accept)

    total, done = len(xray) + len(ct), 0

    digests: dict[ImageRef, str] = {}

    def decode(records: Sequence[Record], modality: Modality) -> DecodedImages:
        nonlocal done
        before = done
        report = None if progress is None else lambda number: progress(before + number, total)
        refs = [ImageRef(r.path, r.frame if isinstance(r, CtRecord) else None) for r in records]
        decoded = decode_all(refs, image_size, data.aspect, data.cache, report, modality, data.ct_windows)
        done += len(records)
        bad[modality].extend(decoded.bad)
        digests.update((refs[row], digest) for row, digest in zip(decoded.kept, decoded.digests, strict=True))
        return decoded

    splits: dict[Split, SplitImages] = {}
    for split in SPLITS:
        xray_part = [record for record in xray if record.split == split]
        ct_part = [record for record in ct if record.split == split]
        splits[split] = SplitImages(
            xray=_image_set(xray_part, decode(xray_part, "xray"), lambda kept: _findings(kept, len(labels.findings))),
            ct=_image_set(ct_part, decode(ct_part, "ct"), _classes),
        )
    _stop_if_bad(bad, data)
    issues += duplicate_issues(same_pictures(images, digests))
    admit(issues, data.accept)
    for modality, folder in folders.items():
        issues += bad_file_issues(bad[modality], modality, folder)
    left_out = (*found_xray.left_out, *found_ct.left_out)
    return SiteImages(
        name,
        splits,
        (*bad["xray"], *bad["ct"], *left_out),
        (*found_xray.notes, *found_ct.notes, *notes),
        tuple(folders.values()),
        in_order(issues),
    )


def _given_splits(
    source: SourceConfig, xray: Sequence[XrayRecord], ct: Sequence[CtRecord]
) -> tuple[Sequence[XrayRecord], Sequence[CtRecord], tuple[str, ...]]:
    """The records on the sides that ``source.splits`` gives them, if there is such a file, and what is to be said."""
    if source.splits is None:
        return xray, ct, ()
    splits = read_split_file(source.splits)
    root = source.splits.parent  # of a folder that is not there no file is named
    xray_folder = source.xray.folder if source.xray else root
    ct_folder = source.ct.folder if source.ct else root
    xray = with_splits(xray, "xray", xray_folder, splits)
    ct = with_splits(ct, "ct", ct_folder, splits)
    names = split_keys(xray, ct, xray_folder, ct_folder)
    return xray, ct, split_notes(source.splits, splits, names)


def _image_set(
    records: Sequence[Record],
    decoded: DecodedImages,
    targets: Callable[[Sequence[Record]], NDArray[np.float32] | NDArray[np.int32]],
) -> ImageSet:
    kept = [records[index] for index in decoded.kept]
    return ImageSet(
        images=decoded.images,
        targets=targets(kept),
        paths=tuple(record.path for record in kept),
        patients=tuple(record.patient for record in kept),
        digests=decoded.digests,
        frames=tuple(record.frame if isinstance(record, CtRecord) else None for record in kept),
        attributes=tuple(record.attributes for record in kept),
    )


def _findings(records: Sequence[XrayRecord], num_findings: int) -> NDArray[np.float32]:
    return np.array([record.findings for record in records], np.float32).reshape(-1, num_findings)


def _classes(records: Sequence[CtRecord]) -> NDArray[np.int32]:
    return np.array([record.cancer_class for record in records], np.int32)


def _stop_if_bad(bad: Mapping[Modality, Sequence[BadFile]], data: DataConfig) -> None:
    files = [file for files in bad.values() for file in files if bad_file_code(file) not in data.accept]
    if files and data.on_bad_file == "error":
        first = "; ".join(f"{ImageRef(file.path, file.frame)} {file.reason}" for file in files[:5])
        more = f"; and {len(files) - 5} more" if len(files) > 5 else ""
        codes = ", ".join(sorted({bad_file_code(file) for file in files}))
        way_out = "Repair or remove them, or set data.on_bad_file to skip"
        raise UnusableDataError(
            f"{len(files)} files cannot be used: {first}{more}. {way_out}",
            f"{len(files)} files cannot be used ({codes}). {way_out}",
        )
