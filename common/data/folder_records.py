"""What the scan of one folder finds."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from fedthorax.common.data.records import BadFile, CtRecord, XrayRecord

Record = TypeVar("Record", XrayRecord, CtRecord)


@dataclass(frozen=True)
class FolderRecords(Generic[Record]):
    """Records sorted by path, files that are named but missing, and what is to be said; notes name no absolute path."""

    records: tuple[Record, ...]
    bad: tuple[BadFile, ...]
    notes: tuple[str, ...]
