"""Folders and tables of a few tiny images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Writes a 6 x 4 picture; another ``seed``, another picture."""

    def write(path: Path, seed: int = 0, height: int = 4, width: int = 6) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines into a CSV file."""

    def write(*lines: str, name: str = "labels.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
