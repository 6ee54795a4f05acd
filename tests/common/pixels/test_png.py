"""PNG files of 16 bits, with outliers, with large texts, and damaged ones."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fedthorax.common.pixels.pillow_image import decode_picture

GREY = np.arange(0, 4096, 4, dtype=np.uint16).reshape(32, 32)  # 12 bits in a file of 16
RIGHT = np.rint(GREY * (255 / 4095))


def png(samples: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A file of 16-bit ``samples`` (H, W, channels), by https://www.w3.org/TR/png-3/; filter 2 (up) in every row."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8).reshape(height, -1)
    up = rows - np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    body = np.concatenate([np.full((height, 1), 2, np.uint8), up], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(data)) + kind + data for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">I", zlib.crc32(part[4:])) for part in packed)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("bits", [12, 16])
def test_every_mode_of_16_bits_is_scaled_as_grey_is(colour_type: int, channels: int, bits: int) -> None:
    scale = 1 if bits == 12 else 16
    samples = np.repeat((GREY * scale)[:, :, None], channels, axis=2)
    if colour_type in (4, 6):
        samples[:, :, -1] = 65535
    seen = decode_picture(png(samples, colour_type))
    assert seen.shape == (32, 32, 3)
    np.testing.assert_allclose(seen, np.repeat(RIGHT[:, :, None], 3, axis=2), atol=1)


@pytest.mark.parametrize(("colour_type", "channels"), [(4, 2), (6, 4)])
def test_what_is_transparent_is_black_and_half_is_half(colour_type: int, channels: int) -> None:
    samples = np.full((2, 1, channels), 4095, np.uint16)
    samples[:, :, -1] = [[0], [32768]]
    samples = np.concatenate([samples, np.full((2, 1, channels), 65535, np.uint16)], axis=1)
    samples[:, 1, :-1] = 4095
    seen = decode_picture(png(samples, colour_type))
    assert seen[:, :, 0].tolist() == [[0, 255], [128, 255]]


def test_one_colour_may_be_transparent() -> None:
    samples = np.array([[[4095, 4095, 4095], [4095, 0, 7]]], np.uint16)
    seen = decode_picture(png(samples, 2, (b"tRNS", struct.pack(">HHH", 4095, 0, 7))))
    assert seen.tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_burnt_in_white_does_not_darken_the_rest(colour_type: int, channels: int) -> None:
    samples = np.repeat(GREY[:, :, None], channels, axis=2)
    samples[0, :5] = 65535
    seen = decode_picture(png(samples, colour_type))[:, :, 0]
    assert seen[0, :5].tolist() == [255] * 5
    np.testing.assert_allclose(seen[1:], RIGHT[1:], atol=1)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"zTXt", b"Report\0\0" + zlib.compress(bytes(3 << 20))),
        (b"iTXt", b"Report\0\1\0\0\0" + zlib.compress(bytes(3 << 20))),
        (b"tEXt", b"Report\0" + b"x" * (3 << 20)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(80 << 20))),
    ],
)
def test_a_large_text_or_profile_is_passed_over(kind: bytes, data: bytes) -> None:
    samples = GREY[:, :, None]
    np.testing.assert_array_equal(decode_picture(png(samples, 0, (kind, data))), decode_picture(png(samples, 0)))


def test_changed_bytes_are_found_even_where_decoders_look_away() -> None:
    content = png(GREY[:, :, None], 0)
    for place in range(40, len(content) - 12, 37):
        damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(ValueError, match="is truncated or damaged"):
            decode_picture(damaged)


@pytest.mark.parametrize("rest", [1, 4, 12, 13, 60])
def test_a_png_file_without_its_end_is_truncated(rest: int) -> None:
    with pytest.raises(ValueError, match="is truncated"):
        decode_picture(png(GREY[:, :, None], 0)[:-rest])


@pytest.mark.parametrize(
    ("marker", "bits", "said"),
    [
        (0xC1, 12, "is a JPEG file of 12 bits, which is not read"),
        (0xC3, 16, "is a lossless JPEG file, which is not read"),
        (0xC3, 8, "is a lossless JPEG file, which is not read"),
        (0xF7, 12, "is a JPEG-LS file, which is not read"),
    ],
)
def test_a_jpeg_of_a_rare_process_is_named(marker: int, bits: int, said: str) -> None:
    """ITU-T T.81, table B.1: the frame header says which process."""
    stream = io.BytesIO()
    Image.fromarray(RIGHT.astype(np.uint8)).save(stream, "JPEG")
    content = stream.getvalue()
    frame = content.index(b"\xff\xc0")
    with pytest.raises(ValueError, match=said):
        decode_picture(
            content[:frame]
            + bytes([0xFF, marker])
            + content[frame + 2 : frame + 4]
            + bytes([bits])
            + content[frame + 5 :]
        )


PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def packed_png(grey: np.ndarray, bits: int, interlaced: bool, *chunks: tuple[bytes, bytes]) -> bytes:
    """Grey of 1, 2, 4, 8 or 16 bits (https://www.w3.org/TR/png-3/, 7.2), in the seven passes of Adam7 (8.2) or one."""
    body = b""
    for top, left, down, right in PASSES if interlaced else ((0, 0, 1, 1),):
        for line in grey[top::down, left::right]:
            places = np.arange(bits - 1, -1, -1)
            body += b"\0" + np.packbits((line[:, None] >> places & 1).astype(np.uint8)).tobytes()
    header = struct.pack(">IIBBBBB", *grey.shape[::-1], bits, 0, 0, 0, int(interlaced))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(data)) + kind + data for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">I", zlib.crc32(part[4:])) for part in packed)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_packed_and_interlaced_greys_have_their_value_and_one_may_be_transparent(bits: int, interlaced: bool) -> None:
    """11.3.2.1: the transparent grey is given as it is stored."""
    white = 2**bits - 1
    grey = np.random.default_rng(bits).integers(0, white + 1, (13, 11))
    grey[0, 0], grey[12, 10] = white, 1
    right = np.rint(grey * 255 / white)
    np.testing.assert_array_equal(decode_picture(packed_png(grey, bits, interlaced))[:, :, 0], right)
    transparent = decode_picture(packed_png(grey, bits, interlaced, (b"tRNS", struct.pack(">H", 1))))
    np.testing.assert_array_equal(transparent[:, :, 0], np.where(grey == 1, 0, right))
    if bits > 1:
        white_away = decode_picture(packed_png(grey, bits, interlaced, (b"tRNS", struct.pack(">H", white))))
        np.testing.assert_array_equal(white_away[:, :, 0], np.where(grey == white, 0, right))
