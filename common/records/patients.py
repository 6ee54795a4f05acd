"""Whose image it is: the label file, the DICOM header and the path are asked, in this order."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fedthorax.common.records.dicom_header import Header, read_header

# Formats that cannot hold a DICOM header need not be opened for one.
_WITHOUT_HEADER = frozenset({".png", ".jpg", ".jpeg", ".nii", ".gz"})


def headers(paths: Sequence[Path]) -> dict[Path, Header]:
    """The DICOM headers of those files that have one."""
    asked = [path for path in dict.fromkeys(paths) if path.suffix.lower() not in _WITHOUT_HEADER]
    if not asked:
        return {}
    with ThreadPoolExecutor() as pool:
        found = pool.map(read_header, asked)
        return {path: header for path, header in zip(asked, found, strict=True) if header is not None}


def patient_in_path(name: str, pattern: str) -> str | None:
    """The group ``patient`` of ``pattern``, searched in a path below the source folder; None where it is empty."""
    match = re.search(pattern, name)
    return (match["patient"] or None) if match else None
