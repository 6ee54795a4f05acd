"""The files that a person names on the command line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import typer

from fedthorax.common.records.records import ImageRef


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

    CT series and volumes give their axial slices from the feet to the head; what else such a folder holds is said on
    stderr; a file that cannot be read is among the images, for decoding to name.
    """
    from fedthorax.common.config.data import CtSlices
    from fedthorax.common.hospital.ct_series import find_slices
    from fedthorax.common.records.listing import IMAGE_KINDS, list_images

    found: list[ImageRef] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such image or folder")
        inside = dict(list_images(path).images) if path.is_dir() else {path.name: path}
        if not inside:
            raise FileNotFoundError(f"{path}: no image in this folder; expected {IMAGE_KINDS} files")
        if modality == "xray":
            found += [ImageRef(image) for image in inside.values()]
            continue
        slices = find_slices(inside, CtSlices())
        if slices.left_out and not slices.slices and not slices.bad:
            first = slices.left_out[0]
            raise ValueError(f"{ImageRef(first.path, first.frame)} {first.reason}")
        for left in slices.left_out:
            typer.echo(f"not used: {ImageRef(left.path, left.frame)} {left.reason}", err=True)
        found += [slice_.image for slice_ in slices.slices]
        found += [ImageRef(bad.path, bad.frame) for bad in slices.bad]  # decoding names what is wrong with it
    return found
