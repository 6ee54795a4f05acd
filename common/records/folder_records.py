"""What the scan of one folder finds."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from fedthorax.common.records.records import BadFile, CtRecord, XrayRecord

Record = TypeVar("Record", XrayRecord, CtRecord)


@dataclass(frozen=True)
class FolderRecords(Generic[Record]):
    """Records sorted by path, slices of a series by their place in the body; files that cannot be used; what is to be
    said, which names no absolute path; and good files that are not what is wanted here, such as scout views.
    """

    records: tuple[Record, ...]
    bad: tuple[BadFile, ...]
    notes: tuple[str, ...]
    left_out: tuple[BadFile, ...] = ()
