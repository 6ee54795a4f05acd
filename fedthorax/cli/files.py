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
    """The named images, and those in any depth of the named folders; what is not used is said on stderr."""
    paths = [path.expanduser() for path in paths]
    if missing := next((path for path in paths if not path.exists()), None):
        raise FileNotFoundError(f"{missing}: no such image or folder")  # before seconds of imports
    from fedthorax.common.release.trial import asked_images

    found, left_out = asked_images(paths, modality)
    for words in left_out:
        typer.echo(f"not used: {words}", err=True)
    return found
