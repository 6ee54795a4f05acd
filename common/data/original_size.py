"""Height and width of image files as they are stored, from their headers alone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
from PIL import Image
from pydicom.errors import InvalidDicomError


def original_sizes(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    """``(height, width)`` of each PNG, JPEG or DICOM file; None for other kinds and for files that cannot be read."""
    with ThreadPoolExecutor(thread_name_prefix="size") as pool:
        return list(pool.map(_size, paths))


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return image.height, image.width
    except Exception:  # not a picture of these kinds, or damaged; decoding reports that, a size is not worth a stop
        pass
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Rows), int(header.Columns)
    except (InvalidDicomError, OSError, AttributeError, ValueError, TypeError):
        return None
