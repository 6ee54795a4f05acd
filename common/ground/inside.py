"""Where something lies in a folder that has a ``path``."""

from pathlib import Path
from typing import Any


class Inside:
    """An attribute of a class of folders: ``metrics = Inside("metrics.json")`` is ``self.path / "metrics.json"``."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __get__(self, folder: Any, kind: type | None = None) -> Path:
        path: Path = folder.path
        return path.joinpath(*self._names)
