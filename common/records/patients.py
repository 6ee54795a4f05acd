"""Whose image it is: the label file, the DICOM header and the path are asked, in this order."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fedthorax.common.records.dicom_header import Header, read_header
from fedthorax.common.records.table import listed

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


def own_patients_note(kind: str, own: Sequence[str], num_images: int) -> tuple[str, ...]:
    """What is to be said of images whose patient nobody knows; ``kind`` is X-rays or CT slices."""
    if not own:
        return ()
    return (
        f"no patient is known for {len(own)} of {num_images} {kind} ({listed(own)}): "
        f"each counts as a patient, so {'slices' if kind == 'CT slices' else 'X-rays'} of one person may stand in "
        "different splits",
    )
