"""Pictures that look a little like chests, drawn by arithmetic: no image of a patient."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.check.check import SiteCheck, check_site
from fedthorax.common.check.facts_store import FactsStore
from fedthorax.common.check.target import targets_of

Picture = NDArray[np.uint8]


def draw_chest(seed: int, side: int = 96) -> Picture:
    """Two dark lungs, a bright spine and abdomen, dark corners above, and smooth shadows of its own for every seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    picture = 0.55 + 0.3 / (1 + np.exp(-(y - 0.75) / 0.06)) + 0.3 * np.exp(-(((x - 0.5) / 0.1) ** 2))
    for middle in (0.28, 0.72):
        picture -= 0.4 * np.exp(-(((x - middle) / 0.15) ** 2) - ((y - 0.4) / 0.24) ** 2)
    picture -= 0.5 * np.clip(0.25 - y, 0, 1) / 0.25 * (np.abs(x - 0.5) > 0.2)
    shadows = Image.fromarray(rng.normal(0, 1, (30, 30)).astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    picture += 0.09 * np.asarray(shadows)
    return np.clip(255 * (picture - 0.1), 5, 250).astype(np.uint8)


def draw_body(seed: int, side: int = 96) -> Picture:
    """A bright ellipse in black air, with organs of its own for every seed: an axial slice of nobody."""
    rng = np.random.default_rng(1000 + seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    organs = Image.fromarray(rng.normal(0, 1, (10, 10)).astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    inside = (x / 0.42) ** 2 + (y / 0.36) ** 2 < 1
    return np.where(inside, np.clip(150 + 40 * np.asarray(organs), 20, 250), 2).astype(np.uint8)


def save_picture(picture: Picture, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture(scope="session")
def chest() -> Callable[..., Picture]:
    return draw_chest


@pytest.fixture(scope="session")
def body() -> Callable[..., Picture]:
    return draw_body


@pytest.fixture(scope="session")
def save() -> Callable[[Picture, Path], Path]:
    return save_picture


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., SiteCheck]:
    """Checks a folder or file, remembering nothing on disk."""

    def run(path: Path, site: str | None = None) -> SiteCheck:
        with FactsStore(None) as store:
            (target,) = targets_of(path, site)
            return check_site(target, store)

    return run
