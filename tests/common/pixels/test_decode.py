"""What a person sees is what is decoded."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from fedthorax.common.pixels import pillow_image
from fedthorax.common.pixels.decode import decode_image, fit_square, pixel_digest, try_decode
from fedthorax.common.records.records import BadFile

GREY = np.array([[0, 100, 255], [10, 20, 30]], np.uint8)
AS_RGB = np.repeat(GREY[:, :, None], 3, axis=2)


def save(tmp_path: Path, image: Image.Image, name: str = "a.png", **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_the_same_picture_in_any_opaque_mode_decodes_to_the_same_pixels(tmp_path: Path, mode: str) -> None:
    image = decode_image(save(tmp_path, Image.fromarray(GREY).convert(mode)))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, AS_RGB)
    assert pixel_digest(image) == pixel_digest(AS_RGB)


def test_a_palette_image_decodes_to_its_colours_and_not_to_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    image.putpalette([9, 8, 7, 60, 50, 40])
    np.testing.assert_array_equal(decode_image(save(tmp_path, image)), [[[9, 8, 7], [60, 50, 40]]])


def test_transparent_parts_are_shown_on_black(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (3, 1))
    for column, alpha in enumerate((0, 51, 255)):
        rgba.putpixel((column, 0), (200, 100, 50, alpha))
    expected = [[[0, 0, 0], [40, 20, 10], [200, 100, 50]]]
    np.testing.assert_array_equal(decode_image(save(tmp_path, rgba)), expected)
    grey_alpha = Image.new("LA", (2, 1), (200, 0))
    np.testing.assert_array_equal(decode_image(save(tmp_path, grey_alpha)), np.zeros((1, 2, 3)))


def test_a_transparent_palette_entry_is_shown_on_black(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([90, 80, 70, 60, 50, 40])
    image.putpixel((1, 0), 1)
    for transparency in (0, b"\x00\xff"):
        path = save(tmp_path, image, transparency=transparency)
        np.testing.assert_array_equal(decode_image(path), [[[0, 0, 0], [60, 50, 40]]])


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(np.array([[True, False]])))
    np.testing.assert_array_equal(decode_image(path)[0, :, 0], [255, 0])


@pytest.mark.parametrize(
    ("stored", "seen"),
    [
        ([0, 257, 32896, 65535], [0, 1, 128, 255]),  # 16 bits
        ([0, 2048, 4095], [0, 128, 255]),  # 12 bits, as detectors deliver them: not almost black
        ([0, 4096], [0, 64]),  # 14 bits: one more than 12 can hold
        ([0, 100, 255], [0, 100, 255]),  # 8 bits in a 16-bit file
        ([0, 0], [0, 0]),
    ],
)
def test_16_bit_grey_is_scaled_from_the_depth_that_holds_it(tmp_path: Path, stored: list[int], seen: list[int]) -> None:
    image = Image.fromarray(np.array([stored], np.uint16))
    assert image.mode == "I;16"
    np.testing.assert_array_equal(decode_image(save(tmp_path, image))[0, :, 1], seen)


def test_a_cmyk_jpeg_has_the_colours_of_its_rgb_original(tmp_path: Path) -> None:
    red = Image.new("RGB", (16, 16), (200, 40, 60))
    path = save(tmp_path, red.convert("CMYK"), "a.jpg", quality=95)
    np.testing.assert_allclose(decode_image(path)[8, 8], [200, 40, 60], atol=4)


@pytest.mark.parametrize(
    ("orientation", "seen"),
    [
        (1, [[0, 100, 255], [10, 20, 30]]),
        (2, [[255, 100, 0], [30, 20, 10]]),
        (3, [[30, 20, 10], [255, 100, 0]]),
        (4, [[10, 20, 30], [0, 100, 255]]),
        (5, [[0, 10], [100, 20], [255, 30]]),
        (6, [[10, 0], [20, 100], [30, 255]]),
        (7, [[30, 255], [20, 100], [10, 0]]),
        (8, [[255, 30], [100, 20], [0, 10]]),
        (99, [[0, 100, 255], [10, 20, 30]]),
    ],
)
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, seen: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = save(tmp_path, Image.fromarray(GREY), exif=exif)
    np.testing.assert_array_equal(decode_image(path)[:, :, 0], seen)


def test_damaged_exif_data_do_not_hide_the_picture(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(GREY), exif=b"Exif\0\0MM\0*\0\0\xff\xff nonsense")
    np.testing.assert_array_equal(decode_image(path), AS_RGB)


@pytest.mark.parametrize("name", ["a.PNG", "a.dcm", "a.nii", "image"])
def test_a_jpeg_of_another_name_is_read_by_what_it_is(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, Image.new("L", (8, 8), 90), "a.jpg")
    np.testing.assert_allclose(decode_image(path.rename(tmp_path / name)), 90, atol=1)


def _png(tmp_path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    return save(tmp_path, Image.fromarray(noise), "noise.png").read_bytes()


def _jpeg(tmp_path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    return save(tmp_path, Image.fromarray(noise), "noise.jpg").read_bytes()


def _gif(tmp_path: Path) -> bytes:
    return save(tmp_path, Image.fromarray(GREY), "a.gif").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", lambda _: b"", r"is empty \(0 bytes\)"),
        ("a.png", lambda _: b"<html>", "is not an image that can be read: it begins neither like a PNG, JPEG"),
        ("a.png", _gif, "is a GIF file, which is not read"),
        ("a.png", lambda t: _png(t)[:1000], "is truncated: it begins like a PNG file but cannot be decoded to its end"),
        ("a.jpg", lambda t: _jpeg(t)[:1000], "is truncated: it begins like a JPEG file but cannot be decoded"),
        ("a.png", lambda t: _png(t)[:12], "is truncated or damaged: it begins like a PNG"),
        ("a.jpg", lambda t: _jpeg(t)[:4], "is truncated or damaged: it begins like a JPEG"),
        ("a.png", lambda t: _png(t)[:60] + b"xyz" + _png(t)[63:], "is truncated or damaged"),
        ("a.nii.gz", lambda _: b"\x1f\x8b nonsense", "is not an image that can be read"),
        ("notes.txt", lambda _: b"as agreed", "is not an image that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_reason(
    tmp_path: Path, name: str, content: Any, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content(tmp_path))
    with pytest.raises(ValueError, match=reason) as caught:
        decode_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    bad = try_decode(path)
    assert isinstance(bad, BadFile)
    assert str(tmp_path) not in bad.reason


def test_missing_forbidden_and_unreadable_files_and_folders_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert try_decode(tmp_path / "a.png") == BadFile(tmp_path / "a.png", "does not exist")
    (tmp_path / "b.png").mkdir()
    assert try_decode(tmp_path / "b.png") == BadFile(tmp_path / "b.png", "is a folder, expected a file")
    for error, reason in (
        (PermissionError(13, "Permission denied"), "may not be read by this user (permission denied)"),
        (OSError(5, "Input/output error"), "could not be read from the disk (Input/output error)"),
    ):

        def fail(_: Path, error: OSError = error) -> bytes:
            raise error

        monkeypatch.setattr(Path, "read_bytes", fail)
        assert try_decode(tmp_path / "c.png") == BadFile(tmp_path / "c.png", reason)


def _png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_without_a_warning(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_claiming(side, side))
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        bad = try_decode(path)
    assert bad == BadFile(path, "has more than 89 million pixels, far beyond any radiograph")
    assert not leaked


def test_a_broken_animation_header_warns_nobody(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(GREY).save(content, "PNG")
    png = content.getvalue()
    animation = b"acTL" + struct.pack(">II", 0, 0)
    chunk = struct.pack(">I", 8) + animation + struct.pack(">I", zlib.crc32(animation))
    path = tmp_path / "a.png"
    path.write_bytes(png[:33] + chunk + png[33:])
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(path).close()
    np.testing.assert_array_equal(decode_image(path), AS_RGB)


def test_running_out_of_memory_is_not_called_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pillow_image, "_as_seen", exhaust)
    with pytest.raises(MemoryError):
        decode_image(save(tmp_path, Image.fromarray(GREY)))


def test_padding_centres_the_picture_on_black_and_keeps_its_proportions() -> None:
    white = np.full((4, 8, 3), 255, np.uint8)
    square = fit_square(white, 4, "pad")
    np.testing.assert_array_equal(square[:, :, 0], [[0] * 4, [255] * 4, [255] * 4, [0] * 4])
    np.testing.assert_array_equal(fit_square(white.transpose(1, 0, 2), 4, "pad"), square.transpose(1, 0, 2))
    # 3 rows in 8: the odd row of black goes below.
    rows = fit_square(np.full((3, 8, 3), 255, np.uint8), 8, "pad")[:, 0, 0]
    np.testing.assert_array_equal(rows, [0, 0, 255, 255, 255, 0, 0, 0])


def test_squashing_fills_the_square() -> None:
    assert (fit_square(np.full((4, 8, 3), 255, np.uint8), 4, "squash") == 255).all()


def test_a_line_one_pixel_wide_is_averaged_in_and_not_skipped() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::8] = 255
    small = fit_square(lines, 8, "pad")
    assert small.min() > 10
    assert abs(float(small.mean()) - 255 / 8) < 3


def test_a_very_long_picture_keeps_at_least_one_row() -> None:
    assert fit_square(np.full((1, 1000, 3), 255, np.uint8), 8, "pad").max() == 255


def test_a_square_of_the_right_size_is_kept_exactly() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(fit_square(noise, 8, "pad"), noise)


def test_the_digest_tells_pictures_of_one_byte_sequence_and_two_shapes_apart() -> None:
    assert pixel_digest(np.zeros((2, 3, 3), np.uint8)) != pixel_digest(np.zeros((3, 2, 3), np.uint8))
    changed = AS_RGB.copy()
    changed[0, 0, 0] = 1
    assert pixel_digest(changed) != pixel_digest(AS_RGB)
    assert len(pixel_digest(AS_RGB)) == 32


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"BM", "BMP"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"II+\0", "TIFF"),
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x18ftypheic", "HEIC, AVIF or film"),
        (b"PK\3\4", "ZIP"),
    ],
)
def test_a_picture_of_another_format_is_named(tmp_path: Path, begin: bytes, name: str) -> None:
    (tmp_path / "a.png").write_bytes(begin + bytes(100))
    bad = try_decode(tmp_path / "a.png")
    assert bad == BadFile(
        tmp_path / "a.png", f"is a {name} file, which is not read; expected PNG, JPEG, DICOM or NIfTI"
    )
    assert bad.fault == "unsupported"


def test_a_link_to_nothing_and_one_to_itself_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    for name, reason in (
        ("a", "is a link to a file that does not exist"),
        ("b", "is a link that leads back to itself"),
    ):
        bad = try_decode(tmp_path / f"{name}.png")
        assert isinstance(bad, BadFile)
        assert (bad.fault, bad.reason) == ("broken_link", reason)
