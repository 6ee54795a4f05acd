"""Only the stored bits below the high bit are the picture, whatever codec packed them (PS3.5 8.1.1)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from fedthorax.common.pixels.decode import decode_image
from fedthorax.common.pixels.grey_tables import stored_of

Write = Callable[..., Path]
SLOPE = np.add.outer(np.arange(48), 2 * np.arange(40)).astype(np.uint16) * 32  # 0 to 4000: 12 bits
LOSSLESS = ("ExplicitVRLittleEndian", "ExplicitVRBigEndian", "RLELossless", "JPEG2000Lossless", "JPEGLSLossless")
WINDOW: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096}


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_an_overlay_above_the_stored_bits_is_not_seen(
    tmp_path: Path, write_dicom: Write, syntax: str, bits: int
) -> None:
    overlay = np.where(np.arange(40) % 7 == 0, 1 << 15, 0).astype(np.uint16)
    values = SLOPE >> (12 - min(bits, 12))
    plain = write_dicom(tmp_path / "plain.dcm", values, BitsStored=bits, **WINDOW)
    drawn = write_dicom(tmp_path / "drawn.dcm", values | overlay, "ExplicitVRLittleEndian", BitsStored=16, **WINDOW)
    if syntax != "ExplicitVRLittleEndian":
        drawn = write_dicom(tmp_path / "packed.dcm", values | overlay, syntax, BitsStored=16, **WINDOW)
    _say(drawn, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(decode_image(drawn), decode_image(plain))


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_high_bits_are_moved_down(tmp_path: Path, write_dicom: Write, syntax: str, signed: bool) -> None:
    values = SLOPE.astype(np.int16) - 2000 if signed else SLOPE
    plain = write_dicom(tmp_path / "plain.dcm", values, BitsStored=12, **WINDOW)
    noise = np.arange(SLOPE.size, dtype=values.dtype).reshape(SLOPE.shape) & 15  # what lies below is no picture either
    high = write_dicom(tmp_path / "high.dcm", (values << 4) | noise, syntax, BitsStored=16, **WINDOW)
    _say(high, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(decode_image(high), decode_image(plain))


def _say(path: Path, **elements: Any) -> None:
    """The header says something else of the same pixels: encoders would refuse to write them so."""
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_a_codec_that_knows_the_precision_leaves_nothing_to_move() -> None:
    said = pydicom.Dataset()
    said.BitsStored, said.HighBit, said.PixelRepresentation = 12, 15, 0
    words = np.array([[0, 4095]], np.uint16)
    assert stored_of(words, said, packed=True).values.tolist() == [[0, 4095]]
    assert stored_of(words, said, packed=False).values.tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("dtype", "bits", "stored", "vr", "padding", "where"),
    [
        # PS3.3 C.7.5.1.1.2: the value is one of the pixels, so it has their sign, however it was coded.
        (np.int16, 16, [-2000, 5, 9], "US", 63536, [True, False, False]),
        (np.int16, 16, [-2000, 5, 9], "SS", -2000, [True, False, False]),
        (np.int16, 12, [-2000, 5, 9], "US", 2096, [True, False, False]),
        (np.int16, 12, [-2000, 5, 9], "US", 63536, [True, False, False]),
        (np.uint16, 16, [65535, 5, 9], "SS", -1, [True, False, False]),
        (np.uint16, 12, [63536, 2096, 9], "US", 63536, [True, False, False]),  # whole words, not the 12 bits of 2096
        (np.uint16, 12, [0, 5, 4095], "US", 4095, [False, False, True]),
        (np.uint8, 8, [255, 5, 9], "US", 255, [True, False, False]),
    ],
)  # fmt: skip
def test_padding_has_the_sign_of_the_pixels(
    dtype: type, bits: int, stored: list[int], vr: str, padding: int, where: list[bool]
) -> None:
    said = pydicom.Dataset()
    said.BitsStored, said.HighBit, said.PixelRepresentation = bits, bits - 1, int(np.dtype(dtype).kind == "i")
    said.add_new("PixelPaddingValue", vr, padding)
    found = stored_of(np.array([stored], dtype), said, packed=False).padding
    assert found is not None
    assert found.tolist() == [where]


@pytest.mark.parametrize("last", [64536, -1000])
def test_a_range_of_padding_is_read_the_same_way(last: int) -> None:
    said = pydicom.Dataset()
    said.BitsStored, said.HighBit, said.PixelRepresentation = 16, 15, 1
    said.add_new("PixelPaddingValue", "US", 63536)
    said.add_new("PixelPaddingRangeLimit", "US" if last > 0 else "SS", last)
    found = stored_of(np.array([[-2001, -2000, -1500, -1000, -999, 40]], np.int16), said, packed=False).padding
    assert found is not None
    assert found.tolist() == [[False, True, True, True, False, False]]
