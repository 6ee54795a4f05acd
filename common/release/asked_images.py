"""The images that a person asks a model about: files, and folders in any depth."""

from collections.abc import Iterable
from pathlib import Path

from fedthorax.common.config.data import CtSlices
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.body_region import no_chest_radiograph
from fedthorax.common.records.listing import IMAGE_KINDS, list_images
from fedthorax.common.records.patients import headers
from fedthorax.common.records.records import BadFile, ImageRef


def asked_images(paths: Iterable[Path], modality: Modality) -> tuple[list[ImageRef], list[str]]:
    """The named images and those in the named folders, in the order of their names, and what is not used, in words.

    CT series and volumes give their axial slices from the feet to the head. A file that cannot be read is among the
    images, for decoding to name. Raises FileNotFoundError, and ValueError where nothing of a path can be used.
    """
    found: list[ImageRef] = []
    told: list[str] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such image or folder")
        inside = dict(list_images(path).images) if path.is_dir() else {path.name: path}
        if not inside:
            raise FileNotFoundError(f"{path}: no image in this folder; expected {IMAGE_KINDS} files")
        if modality == "xray":
            wrong = {path: no_chest_radiograph(header) for path, header in headers(list(inside.values())).items()}
            left_out = [BadFile(path, reason) for path, reason in wrong.items() if reason]
            images = [ImageRef(image) for image in inside.values() if not wrong.get(image)]
        else:
            slices = find_slices(inside, CtSlices())
            raw = [bad for bad in slices.bad if bad.fault == "other_scale"]
            left_out = [*slices.left_out, *raw]
            images = [slice_.image for slice_ in slices.slices]
            images += [ImageRef(bad.path, bad.frame) for bad in slices.bad if bad not in raw]
        words = [f"{ImageRef(left.path, left.frame)} {left.reason}" for left in left_out]
        if words and not images:
            raise ValueError(words[0])
        found += images
        told += words
    return found, told
