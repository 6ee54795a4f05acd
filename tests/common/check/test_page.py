"""The page for the person who has to look at the pictures."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.check.check import SiteCheck
from fedthorax.common.check.page import render, write_page

Draw = Callable[..., np.ndarray]
Save = Callable[[np.ndarray, Path], Path]


@pytest.fixture
def checked(tmp_path: Path, body: Draw, chest: Draw, save: Save, check: Callable[..., SiteCheck]) -> SiteCheck:
    """Copies on two sides, a truncated file, and names that a browser would take for markup."""
    folder = tmp_path / "images & <b>more</b>"
    for number in range(4):
        save(body(number), folder / f"ct/train/normal/<i>{number}.png")
        save(body(10 + number), folder / f"ct/test/tumour/{number}.png")
    save(body(0), folder / "ct/test/tumour/copy.png")
    (folder / "ct/test/tumour/3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save(255 - chest(0), folder / "xray/a.png")
    (folder / "xray/labels.csv").write_text("file,patient_id,Mass\na.png,p,1\n", encoding="utf-8")
    return check(folder)


def test_every_finding_stands_there_with_what_to_do_and_its_pictures(checked: SiteCheck) -> None:
    page = render([checked])
    for issue in checked.issues:
        assert issue.code in page
    assert "must stay at the hospital" in page
    assert "A run refuses these data" in page
    assert page.count("data:image/jpeg;base64,") >= 3
    assert "3.png" in page, "a file that cannot be shown is named"


def test_names_are_text_and_nothing_is_loaded_from_anywhere(checked: SiteCheck) -> None:
    page = render([checked])
    assert "<i>0.png" not in page
    assert "&lt;i&gt;0.png" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page


def test_only_its_owner_may_read_the_page(checked: SiteCheck, tmp_path: Path) -> None:
    write_page(tmp_path / "check.html", [checked])
    assert (tmp_path / "check.html").stat().st_mode & 0o777 == 0o600
