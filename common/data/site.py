"""All images of one hospital, or of the server, ready to be paired."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import DataConfig, SourceConfig, SplitFractions
from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.data.cache import DecodedImages, decode_all
from fedthorax.common.data.ct_folder import ct_records
from fedthorax.common.data.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.data.overlap import shared_images
from fedthorax.common.data.records import SPLITS, BadFile, CtRecord, Split, XrayRecord
from fedthorax.common.data.splits import assign_splits
from fedthorax.common.data.xray_folder import xray_records
from fedthorax.common.seeds import derive_seed

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

    ``data.on_bad_file`` decides whether files that cannot be read end in a ValueError that names the first five, or in
    ``skipped``. ``progress`` is called with files done and all files. Errors begin with the name of the site.
    """
    try:
        return _load(name, source, labels, data, fractions, image_size, seed, progress)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise type(error)(f"{name}: {error}") from error
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
    found_xray = xray_records(source.xray, labels.findings)
    found_ct = ct_records(source.ct, labels.cancer_classes)
    bad = [*found_xray.bad, *found_ct.bad]
    _stop_if_bad(bad, data)
    xray, ct = assign_splits(found_xray.records, found_ct.records, fractions, derive_seed(seed, "splits", name))

    total, done = len(xray) + len(ct), 0

    def decode(records: Sequence[Record]) -> DecodedImages:
        nonlocal done
        before = done
        report = None if progress is None else lambda number: progress(before + number, total)
        decoded = decode_all([r.path for r in records], image_size, data.aspect, data.cache, report)
        done += len(records)
        bad.extend(decoded.bad)
        return decoded

    splits: dict[Split, SplitImages] = {}
    for split in SPLITS:
        xray_part = [record for record in xray if record.split == split]
        ct_part = [record for record in ct if record.split == split]
        splits[split] = SplitImages(
            xray=_image_set(xray_part, decode(xray_part), lambda kept: _findings(kept, len(labels.findings))),
            ct=_image_set(ct_part, decode(ct_part), _classes),
        )
    _stop_if_bad(bad, data)
    notes = (*found_xray.notes, *found_ct.notes, *_repeated_pictures(splits))
    return SiteImages(name, splits, tuple(bad), notes, folders=(source.xray.folder, source.ct.folder))


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
        attributes=tuple(record.attributes for record in kept),
    )


def _findings(records: Sequence[XrayRecord], num_findings: int) -> NDArray[np.float32]:
    return np.array([record.findings for record in records], np.float32).reshape(-1, num_findings)


def _classes(records: Sequence[CtRecord]) -> NDArray[np.int32]:
    return np.array([record.cancer_class for record in records], np.int32)


def _stop_if_bad(bad: Sequence[BadFile], data: DataConfig) -> None:
    if bad and data.on_bad_file == "error":
        first = "; ".join(f"{file.path} {file.reason}" for file in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ValueError(
            f"{len(bad)} files cannot be used: {first}{more}. Repair or remove them, or set data.on_bad_file to skip"
        )


def _repeated_pictures(splits: dict[Split, SplitImages]) -> list[str]:
    """What a split shares with the ones before it: such images make its scores look better than they are."""
    notes = []
    for modality in ("xray", "ct"):
        for position, split in enumerate(SPLITS):
            for earlier in SPLITS[:position]:
                later_set: ImageSet = getattr(splits[split], modality)
                shared = shared_images(later_set, getattr(splits[earlier], modality).digests)
                if shared:
                    kind = "X-rays" if modality == "xray" else "CT slices"
                    notes.append(
                        f"{len(shared)} of {len(later_set)} {kind} in {split} have the same pixels as one in {earlier}"
                    )
    return notes
