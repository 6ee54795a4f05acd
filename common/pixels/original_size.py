"""Height and width of image files as they are stored, from their headers alone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels.nifti import read_volume
from fedthorax.common.records.dicom_header import read_header


def original_sizes(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    """``(height, width)`` of the pictures in each PNG, JPEG, DICOM or NIfTI file, which is opened once.

    None for other files, and for those whose header cannot be read: a size is not worth a stop, decoding reports them.
    """
    files = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(num_cpus(), thread_name_prefix="size") as pool:
        size = dict(zip(files, pool.map(_size, files), strict=True))
    return [size[path] for path in paths]


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with silence(), Image.open(path, formats=("PNG", "JPEG")) as image:
            return image.height, image.width
    except Exception:  # not a picture of these kinds, or damaged in any way
        header = read_header(path)
    if header is not None:
        return None if header.rows is None or header.columns is None else (header.rows, header.columns)
    try:
        volume = read_volume(path)
    except (OSError, ValueError):
        return None
    return volume.shape[volume.axes[1]], volume.shape[volume.axes[0]]
