"""Images that a model is asked about and that are no plain picture of a chest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.check.flags import FLAG_WORDS, flags_of
from fedthorax.common.check.suspects import _JUDGES

NOT_OF_A_CHEST = {"inverted", "sideways", "colour-photo", "single-colour"}


def save(path: Path, picture: NDArray[np.uint8]) -> Path:
    Image.fromarray(picture).save(path)
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda chest: np.rot90(chest), "sideways"),
        (lambda chest: np.rot90(chest, 2), "sideways"),
        (lambda chest: 255 - chest, "inverted"),
        (lambda chest: np.full_like(chest, 90), "single-colour"),
        (lambda chest: np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "colour-photo"),
    ],
)
def test_turned_inverted_blank_and_coloured_pictures_are_flagged(
    tmp_path: Path, chest: Callable[..., NDArray[np.uint8]], change: Callable[..., NDArray[np.uint8]], code: str
) -> None:
    assert code in flags_of(save(tmp_path / "x.png", change(chest(3))), "xray")
    assert not NOT_OF_A_CHEST & set(flags_of(save(tmp_path / "chest.png", chest(3)), "xray"))


def test_a_body_is_a_plain_slice_and_a_blank_one_is_not(tmp_path: Path, body: Callable[..., NDArray[np.uint8]]) -> None:
    assert flags_of(save(tmp_path / "c.png", body(1)), "ct") == []
    assert flags_of(save(tmp_path / "c.png", np.full_like(body(1), 9)), "ct") == ["single-colour"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "e.png").touch()
    with pytest.raises(ValueError, match=r"e\.png: is empty"):
        flags_of(tmp_path / "e.png", "xray")


def test_a_large_blank_picture_is_blank_whatever_a_few_pixels_are(tmp_path: Path) -> None:
    """Noise of one grey level goes far in a million pixels, and a dead pixel is no picture."""
    noise = np.random.default_rng(1).normal(0, 1, (1024, 1024))
    grey = np.clip(np.rint(128 + noise), 0, 255).astype(np.uint8)
    grey[0, :5] = 255
    picture = np.repeat(grey[..., None], 3, axis=2)
    assert int(picture.max()) - int(picture.min()) > 8
    assert "single-colour" in flags_of(save(tmp_path / "blank.png", picture), "xray")


@pytest.mark.parametrize("light", [(1.0, 0.9, 0.7), (0.8, 0.95, 1.0)])
def test_a_dark_picture_seen_in_coloured_light_is_a_colour_photo_and_a_pen_stroke_is_none(
    tmp_path: Path, chest: Callable[..., NDArray[np.uint8]], light: tuple[float, float, float]
) -> None:
    dark = np.repeat((chest(3) * 0.5).astype(np.uint8)[..., None], 3, axis=2)
    tinted = (dark * np.array(light)).astype(np.uint8)
    assert np.mean(np.ptp(tinted, axis=2) > 40) < 0.05, "too dark for a clear colour"
    assert flags_of(save(tmp_path / "t.png", tinted), "xray") == ["colour-photo"]
    marked = dark.copy()
    marked[5:7, 5:25] = (255, 0, 0)
    assert flags_of(save(tmp_path / "m.png", marked), "xray") == ["annotated"]


def test_noise_in_the_dark_is_no_tint(tmp_path: Path) -> None:
    """A black frame with a few brighter pixels has no colour worth naming."""
    picture = np.random.default_rng(0).integers(0, 40, (64, 64, 3)).astype(np.uint8)
    picture[0, :5] = (90, 70, 70)
    assert "colour-photo" not in flags_of(save(tmp_path / "n.png", picture), "xray")


def test_every_flag_has_plain_words():
    assert {code for judges in _JUDGES.values() for code in judges} == set(FLAG_WORDS)
