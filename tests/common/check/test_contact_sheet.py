"""The contact sheet shows what the model gets, and what it does not get with the reason."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fedthorax.common.check.contact_sheet import Tile, draw_sheet, look_at
from fedthorax.common.config.data import CtSlices
from fedthorax.common.pixels.decode import decode_image, fit_square
from fedthorax.common.records.records import ImageRef

Write = Callable[..., Path]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_tiles_are_what_is_trained_on(tmp_path: Path, draw: Write, write_ct: Write, write_nifti: Write) -> None:
    draw(tmp_path / "a.png")
    write_ct(tmp_path / "s/1.dcm", np.full((4, 4), 40), 5.0)
    write_ct(tmp_path / "s/2.dcm", np.full((4, 4), 80), 1.0)
    write_ct(tmp_path / "s/scout.dcm", np.full((4, 4), 80), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    volume = write_nifti(tmp_path / "v.nii", np.full((2, 2, 2), -500, np.int16))
    (tmp_path / "x.png").write_bytes(b"")
    looked = look_at(tmp_path, "auto", 8, "squash", 64)
    assert [tile.name for tile in looked.tiles] == [
        "s/2.dcm",
        "s/1.dcm",
        "v.nii #0",
        "v.nii #1",
        "s/scout.dcm",
        "a.png",
        "x.png",
    ]
    assert looked.total == 7
    reasons = [tile.picture for tile in looked.tiles if isinstance(tile.picture, str)]
    assert reasons == ["is a scout view (localizer), not a CT slice", "is empty (0 bytes)"]
    np.testing.assert_array_equal(looked.tiles[3].picture, fit_square(decode_image(ImageRef(volume, 1)), 8, "squash"))


def test_a_modality_is_what_a_folder_is_said_to_hold(tmp_path: Path, draw: Write, write_ct: Write) -> None:
    draw(tmp_path / "a.png")
    write_ct(tmp_path / "b.dcm", np.full((4, 4), 40))
    assert [tile.picture for tile in look_at(tmp_path, "xray", 8, "pad", 64).tiles][1] == (
        "has the modality CT, expected an X-ray"
    )
    slices = look_at(tmp_path, "ct", 8, "pad", 64, policy=CtSlices(every=2))
    assert [tile.name for tile in slices.tiles] == ["a.png", "b.dcm"]


def test_of_many_images_every_nth_is_shown(tmp_path: Path, draw: Write) -> None:
    for number in range(10):
        draw(tmp_path / f"{number}.png")
    looked = look_at(tmp_path, "auto", 4, "pad", 4)
    assert [tile.name for tile in looked.tiles] == ["0.png", "3.png", "6.png", "9.png"]
    assert looked.total == 10


def test_a_single_file_can_be_looked_at(tmp_path: Path, draw: Write) -> None:
    assert [tile.name for tile in look_at(draw(tmp_path / "a.png"), "auto", 4, "pad", 4).tiles] == ["a.png"]


def test_the_sheet_holds_each_picture_unchanged_in_its_place() -> None:
    random = np.random.default_rng(0)
    tiles = [Tile(f"{n}.png", random.integers(0, 256, (32, 32, 3)).astype(np.uint8)) for n in range(5)]
    sheet = pixels(draw_sheet(tiles, 32, columns=3))
    found = [
        (top, left)
        for top in range(sheet.shape[0] - 31)
        for left in range(sheet.shape[1] - 31)
        if (sheet[top, left] == tiles[4].picture[0, 0]).all()
        and (sheet[top : top + 32, left : left + 32] == tiles[4].picture).all()
    ]
    assert len(found) == 1
    assert found[0][1] == 6 + 38, "the fifth of three a row stands second in the second row"


def test_names_and_reasons_are_written_and_never_too_long_to_draw() -> None:
    plain = pixels(draw_sheet([Tile("a", "is empty")], 64, columns=8))
    long = pixels(draw_sheet([Tile("a/very/long/folder/name " * 9 + ".png", "words " * 200)], 64, columns=8))
    assert plain.shape == long.shape
    assert (plain != long).any()
    bare = pixels(draw_sheet([Tile("", "")], 64, columns=8))
    assert (bare != plain).any()


def test_what_a_run_refuses_is_shown_as_refused_whatever_the_folder_is_said_to_hold(
    tmp_path: Path, write_dicom: Write
) -> None:
    write_dicom(tmp_path / "a.dcm", np.arange(64, dtype=np.uint16).reshape(8, 8), Modality="MR")
    (tile,) = look_at(tmp_path, "auto", 32, "pad", 8).tiles
    assert tile.picture == "has the modality MR, expected an X-ray"


def test_a_series_without_hounsfield_units_is_shown_as_refused(tmp_path: Path, write_ct: Callable[..., Path]) -> None:
    rows, columns = np.ogrid[-32:32, -32:32]
    units = np.where(np.hypot(rows, columns) < 20, 40, -1000)
    for name, shift in (("good", 0), ("raw", 1024)):
        for height in (0.0, 1.0):
            write_ct(tmp_path / f"{name}{height:.0f}.dcm", units + shift, height, SeriesInstanceUID=f"1.{len(name)}")
    shown = {tile.name: tile.picture for tile in look_at(tmp_path, "auto", 8, "pad", 9).tiles}
    assert {name for name, picture in shown.items() if isinstance(picture, str)} == {"raw0.dcm", "raw1.dcm"}
    assert "holds no Hounsfield units" in str(shown["raw0.dcm"])
