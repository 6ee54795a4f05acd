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


def save_picture(picture: Picture, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


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
