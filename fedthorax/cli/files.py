"""The files that a person names on the command line."""

from collections.abc import Iterable
from pathlib import Path

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


def model_file(path: Path) -> Path:
    """The ``.keras`` file that ``path`` is, or the best model of the run folder that it is."""
    if path.is_dir():
        best = path / "model" / "best.keras"
        if not best.is_file():
            raise FileNotFoundError(f"{path}: expected a run folder, but it has no model/best.keras")
        return best
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .keras model or a run folder")
    if path.suffix != ".keras":
        raise ValueError(f"{path}: expected a .keras model or a run folder")
    return path


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The named images, and those in any depth of the named folders, in the order of their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
            if not inside:
                raise FileNotFoundError(f"{path}: no image in this folder; expected {', '.join(IMAGE_ENDINGS)}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such image or folder")
    return found
