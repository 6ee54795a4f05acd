"""What a hospital's folders hold, before a picture is decoded: the one way in for a run, the check and a partition."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedthorax.common.config.data import CtSlices, CtSource, SourceConfig, SplitFractions
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.records import CtRecord, XrayRecord
from fedthorax.common.records.split_file import read_split_file, relative_name, split_keys, split_notes, with_splits
from fedthorax.common.records.splits import assign_splits
from fedthorax.common.records.xray_folder import xray_records

_ALL_SLICES = CtSlices()
OnFault = Callable[[Modality, Exception], None]


@dataclass(frozen=True)
class Scan:
    """The records on the sides that folders, tables or the split file give them, if any does.

    ``notes`` are of the split file. ``strange`` are the slices of classes that the consortium does not have, by class;
    they stand in no other list.
    """

    folders: dict[Modality, Path]
    xray: FolderRecords[XrayRecord]
    ct: FolderRecords[CtRecord]
    notes: tuple[str, ...] = ()
    strange: Mapping[str, tuple[CtRecord, ...]] = field(default_factory=dict)

    def drawn(
        self, name: str, fractions: SplitFractions, seed: int
    ) -> tuple[tuple[XrayRecord, ...], tuple[CtRecord, ...]]:
        """The records with a side each, drawn for hospital ``name`` where none is given."""
        seed = derive_seed(seed, "splits", name)
        return assign_splits(self.xray.records, self.ct.records, fractions, seed, keep_torn=True)


def scan(
    source: SourceConfig,
    findings: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    slices: CtSlices = _ALL_SLICES,
    on_fault: OnFault | None = None,
) -> Scan:
    """Labels are ``findings`` and ``classes``, or those that the folders themselves name (None).

    Errors are those of ``xray_records``, ``ct_records`` and ``read_split_file``. With ``on_fault`` a modality that
    cannot be used is told there and is empty, and class folders that the consortium does not have are ``strange``.
    """
    xray, ct = FolderRecords[XrayRecord](), FolderRecords[CtRecord]()
    strange: dict[str, tuple[CtRecord, ...]] = {}
    try:
        if source.xray is not None:
            xray = xray_records(source.xray, findings)
    except (ValueError, OSError) as error:
        _tell(on_fault, "xray", error)
    try:
        if source.ct is not None and on_fault is None:
            ct = ct_records(source.ct, classes, slices)
        elif source.ct is not None:
            ct, strange = _with_strange(source.ct, classes, slices)
    except (ValueError, OSError) as error:
        _tell(on_fault, "ct", error)
    folders = source.by_modality
    if source.splits is None:
        return Scan(folders, xray, ct, (), strange)
    splits, root = read_split_file(source.splits), source.splits.parent  # of a folder that is not there none is named
    xray_folder, ct_folder = folders.get("xray", root), folders.get("ct", root)
    xray = replace(xray, records=with_splits(xray.records, "xray", xray_folder, splits))
    ct = replace(ct, records=with_splits(ct.records, "ct", ct_folder, splits))
    keys = split_keys(xray.records, ct.records, xray_folder, ct_folder)
    return Scan(folders, xray, ct, split_notes(source.splits, splits, keys), strange)


def _with_strange(
    source: CtSource, classes: Sequence[str] | None, slices: CtSlices
) -> tuple[FolderRecords[CtRecord], dict[str, tuple[CtRecord, ...]]]:
    found = ct_records(source, classes, slices, take_strange=True)
    known = found.labels if classes is None else found.labels[: len(classes)]
    of_class = {
        name: tuple(record for record in found.records if record.cancer_class == place)
        for place, name in enumerate(found.labels)
        if place >= len(known)
    }
    kept = tuple(record for record in found.records if record.cancer_class < len(known))
    nobodys = tuple(relative_name(record.path, source.folder) for record in kept if not record.identified)
    return replace(found, records=kept, labels=known, own_patients=nobodys), of_class


def _tell(on_fault: OnFault | None, modality: Modality, error: Exception) -> None:
    if on_fault is None:
        raise error
    on_fault(modality, error)
