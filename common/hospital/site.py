"""All images of one hospital, or of the server, ready to be paired."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import DataConfig, SourceConfig, SplitFractions
from fedthorax.common.config.experiment import Experiment
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.bad_files import bad_file_code, bad_file_issues, record_issues
from fedthorax.common.hospital.copies import duplicate_issues, patient_issues, same_pictures
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.hospital.labelled import labelled_images
from fedthorax.common.hospital.patient_ids import unclear_issues, unclear_patients
from fedthorax.common.hospital.scan import scan
from fedthorax.common.issues.issue import in_order
from fedthorax.common.issues.unusable import UnusableDataError, admit
from fedthorax.common.pixels.cache import DecodedImages, decode_all
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import SPLITS, BadFile, CtRecord, ImageRef, Split, XrayRecord
from fedthorax.common.records.table import listed

Record = TypeVar("Record", XrayRecord, CtRecord)


def load_hospital(experiment: Experiment, name: str, progress: Callable[[int, int], None] | None = None) -> SiteImages:
    """The X-rays and CT slices of hospital ``name``, or of the server (CENTRAL), split by patient and decoded; a split
    without images is empty.

    Pictures that are not what is wanted here, such as scout views, stand in ``skipped`` and are no error.
    ``data.on_bad_file`` decides whether files that cannot be read end in a ValueError that names the first of each
    reason, or in ``skipped``. ``progress`` is called with files done and all files. Errors begin with the name of the
    site.

    What `fedthorax check` would find in patients, splits, labels and equal pixels is found here too, without reading
    anything again: errors that ``data.accept`` does not name are a ValueError, all others stand in ``issues``.
    """
    source, fractions = experiment.data.folders_of(name)
    try:
        return _load(experiment, name, source, fractions, progress)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise type(error)(f"{name}: {error}") from error
    except UnusableDataError as error:
        raise UnusableDataError(f"{name}: {error}", error.codes) from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _load(
    experiment: Experiment,
    name: str,
    source: SourceConfig,
    fractions: SplitFractions,
    progress: Callable[[int, int], None] | None,
) -> SiteImages:
    data, labels = experiment.data, experiment.labels
    found = scan(source, labels.findings, labels.cancer_classes, data.ct_slices)
    bad: dict[Modality, list[BadFile]] = {"xray": list(found.xray.bad), "ct": list(found.ct.bad)}
    _stop_if_bad(bad, data)
    xray, ct = found.drawn(name, fractions, experiment.seed)
    images = labelled_images(xray, ct, found.folders)
    issues = patient_issues(images) + unclear_issues(unclear_patients(images))
    admit(issues, data.accepted)

    total, done = len(xray) + len(ct), 0

    digests: dict[ImageRef, str] = {}

    def decode(records: Sequence[Record], modality: Modality) -> DecodedImages:
        nonlocal done
        before = done
        report = None if progress is None else lambda number: progress(before + number, total)
        refs = [record.ref for record in records]
        size = experiment.model.image_size
        decoded = decode_all(refs, size, data.aspect, data.cache, report, modality, data.ct_windows)
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
    admit(issues, data.accepted)
    for modality, folder in found.folders.items():
        issues += bad_file_issues(bad[modality], modality, folder)
    issues += record_issues(found.xray, "xray") + record_issues(found.ct, "ct")
    left_out = (*found.xray.left_out, *found.ct.left_out)
    return SiteImages(
        name,
        splits,
        (*bad["xray"], *bad["ct"], *left_out),
        (*found.xray.notes, *found.ct.notes, *found.notes),
        tuple(found.folders.values()),
        in_order(issues),
    )


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
        named=tuple(record.identified for record in kept),
    )


def _findings(records: Sequence[XrayRecord], num_findings: int) -> NDArray[np.float32]:
    return np.array([record.findings for record in records], np.float32).reshape(-1, num_findings)


def _classes(records: Sequence[CtRecord]) -> NDArray[np.int32]:
    return np.array([record.cancer_class for record in records], np.int32)


def _stop_if_bad(bad: Mapping[Modality, Sequence[BadFile]], data: DataConfig) -> None:
    files = [file for files in bad.values() for file in files if bad_file_code(file) not in data.accepted]
    if files:
        by_reason: dict[str, list[str]] = {}
        for file in files:
            by_reason.setdefault(file.reason, []).append(str(file.ref))
        told = [f"{listed(same, 3)}: {reason}" for reason, same in by_reason.items()]
        first = "; ".join(told[:5])
        more = f"; and {number_of(len(told) - 5, 'more reason')}" if len(told) > 5 else ""
        raise UnusableDataError(
            f"{number_of(len(files), 'file')} cannot be used: {first}{more}. "
            "Repair or remove them, or set data.on_bad_file to skip",
            sorted({bad_file_code(file) for file in files}),
        )
