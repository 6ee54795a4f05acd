"""Pictures that are far flatter, darker or brighter than the others of their folder or scanner are shown."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.check.check import SiteCheck
from fedthorax.common.check.facts import GREYS
from fedthorax.common.check.neighbours import neighbour_issues, odd_among
from fedthorax.common.hospital.labelled import LabelledImage
from fedthorax.common.records.records import Attributes, ImageRef

Check = Callable[..., SiteCheck]
Draw = Callable[..., NDArray[np.uint8]]
Save = Callable[[NDArray[np.uint8], Path], Path]

FAULTS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "16 times too dark": lambda picture: picture // 16,
    "flat": lambda picture: (112 + picture // 8).astype(np.uint8),
    "one grey": lambda picture: np.full_like(picture, 90),
    "white": lambda picture: np.maximum(picture, 240),
}


def odd(checked: SiteCheck) -> tuple[str, ...]:
    return next((issue.files for issue in checked.issues if issue.code == "unlike-neighbours"), ())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("modality", ["xray", "ct"])
def test_a_picture_with_another_brightness_is_shown_and_its_neighbours_are_not(
    tmp_path: Path, check: Check, chest: Draw, body: Draw, save: Save, modality: str, fault: str
) -> None:
    draw = chest if modality == "xray" else body
    folder = tmp_path / ("xray" if modality == "xray" else "ct/normal")
    for number in range(24):
        save(draw(number), folder / f"{number:02}.png")
    if modality == "xray":
        rows = [f"{number:02}.png,p{number},{number % 2}" for number in range(24)]
        (folder / "labels.csv").write_text("\n".join(["file,patient_id,Mass", *rows]) + "\n")
    assert odd(check(tmp_path)) == ()
    save(FAULTS[fault](draw(5)), folder / "05.png")
    assert odd(check(tmp_path)) == (("05.png",) if modality == "xray" else ("normal/05.png",))


def test_fewer_than_twenty_are_no_neighbourhood(tmp_path: Path, check: Check, chest: Draw, save: Save) -> None:
    for number in range(19):
        save(chest(number) // (16 if number == 3 else 1), tmp_path / f"{number:02}.png")
    assert odd(check(tmp_path)) == ()
    save(chest(19), tmp_path / "19.png")
    assert odd(check(tmp_path)) == ("03.png",)


def quantiles(low: float, high: float, count: int) -> NDArray[np.float64]:
    return np.linspace(low, high, GREYS)[None].repeat(count, axis=0)


def test_a_scanner_whose_pictures_are_all_dark_is_unlike_the_rest() -> None:
    greys = np.concatenate([quantiles(5, 240, 60), quantiles(0, 15, 25)])
    rows = [list(range(85)), list(range(60)), list(range(60, 85))]
    np.testing.assert_array_equal(odd_among(greys, rows), np.arange(85) >= 60)


def test_one_that_is_usual_in_the_whole_may_be_unlike_its_scanner() -> None:
    greys = np.concatenate([quantiles(5, 240, 30), quantiles(60, 130, 29), quantiles(5, 240, 1)])
    greys[59] = np.linspace(170, 240, GREYS)
    alone = [list(range(60))]
    assert not odd_among(greys, alone).any()
    np.testing.assert_array_equal(odd_among(greys, [*alone, list(range(30, 60))]), np.arange(60) == 59)


def test_a_picture_is_compared_with_those_of_its_scanner() -> None:
    greys = np.concatenate([quantiles(5, 240, 30), quantiles(60, 130, 30)])
    greys[59] = np.linspace(170, 240, GREYS)
    images = [
        LabelledImage(
            "xray", ImageRef(Path(f"{row}.png")), f"{row}.png", "p", (), None, Attributes(scanner="AB"[row // 30])
        )
        for row in range(60)
    ]
    facts = {
        image.ref: SimpleNamespace(greys=row.astype(np.uint8).tobytes())
        for image, row in zip(images, greys, strict=True)
    }
    (issue,) = neighbour_issues(images, facts)  # type: ignore[arg-type]
    assert issue.files == ("59.png",)


def test_a_folder_of_pictures_that_differ_widely_has_no_odd_one() -> None:
    middle = np.linspace(40, 200, 50)
    greys = middle[:, None] + np.linspace(-40, 40, GREYS)
    assert not odd_among(greys, [list(range(50))]).any()


def test_burnt_in_values_that_were_passed_over_are_told(tmp_path: Path, check: Check, chest: Draw) -> None:
    for number in (0, 1):
        stored = chest(number).astype(np.uint16) * 16
        stored[0, : 9 * number] = 65535
        Image.fromarray(stored).save(tmp_path / f"{number}.png")
    (told,) = [issue for issue in check(tmp_path).issues if "far beyond all others" in issue.sentence]
    assert (told.level, told.files) == ("note", ("1.png",))
