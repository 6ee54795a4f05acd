"""The files that a person names on the command line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import typer

from fedthorax.common.records.records import BadFile, ImageRef


def model_file(path: Path) -> Path:
    """The ``.keras`` or ``.zip`` file that ``path`` is, or the selected model of the run or model folder that it is."""
    if path.is_dir():
        names = ("model/best.keras", "best.keras", "model.keras")
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise FileNotFoundError(f"{path}: expected a run folder, but it has no model/best.keras")
        return found
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .keras model, a packed .zip or a run folder")
    if path.suffix not in (".keras", ".zip"):
        raise ValueError(f"{path}: expected a .keras model, a packed .zip or a run folder")
    return path


def image_files(paths: Iterable[Path], modality: Literal["xray", "ct"]) -> list[ImageRef]:
    """The named images, and those in any depth of the named folders, in the order of their names.

    CT series and volumes give their axial slices from the feet to the head. What else a folder holds, such as X-rays
    of a hand, is said on stderr; a file that cannot be read is among the images, for decoding to name.
    """
    from fedthorax.common.config.data import CtSlices
    from fedthorax.common.hospital.ct_series import find_slices
    from fedthorax.common.records.body_region import no_chest_radiograph
    from fedthorax.common.records.listing import IMAGE_KINDS, list_images
    from fedthorax.common.records.patients import headers

    found: list[ImageRef] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such image or folder")
        inside = dict(list_images(path).images) if path.is_dir() else {path.name: path}
        if not inside:
            raise FileNotFoundError(f"{path}: no image in this folder; expected {IMAGE_KINDS} files")
        if modality == "xray":
            told = {path: no_chest_radiograph(header) for path, header in headers(list(inside.values())).items()}
            left_out = [BadFile(path, reason) for path, reason in told.items() if reason]
            images = [ImageRef(image) for image in inside.values() if not told.get(image)]
        else:
            slices = find_slices(inside, CtSlices())
            raw = [bad for bad in slices.bad if bad.fault == "other_scale"]
            left_out = [*slices.left_out, *raw]
            images = [slice_.image for slice_ in slices.slices]
            # Decoding names what is wrong with the others.
            images += [ImageRef(bad.path, bad.frame) for bad in slices.bad if bad not in raw]
        if left_out and not images:
            raise ValueError(f"{ImageRef(left_out[0].path, left_out[0].frame)} {left_out[0].reason}")
        for left in left_out:
            typer.echo(f"not used: {ImageRef(left.path, left.frame)} {left.reason}", err=True)
        found += images
    return found
