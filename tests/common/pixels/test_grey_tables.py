"""Tables of grey values and colours, in every width and packing that devices write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from fedthorax.common.pixels.decode import decode_image

Write = Callable[..., Path]
RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
FULL = np.rint(RAMP * (255 / 4095))


def item(count: int, first: int, bits: int, data: Any, vr: str = "OW", signed: bool = False) -> pydicom.Dataset:
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "SS" if signed else "US", [count & 0xFFFF, first, bits])
    table.add_new("LUTData", vr, data)
    return table


def packed_bits(entries: np.ndarray, bits: int) -> bytes:
    return np.packbits((entries[:, None] >> np.arange(bits)) & 1, bitorder="little").tobytes()


ENTRIES = np.arange(4096)
WAYS = {
    # PS3.3 C.11.2.1.1: the third number is the bits of an entry; the values run from 0 to what these bits hold.
    "12 bits": item(4096, 0, 12, ENTRIES.astype("<u2").tobytes()),
    "12 bits, as numbers": item(4096, 0, 12, ENTRIES.tolist(), "US"),
    "16 declared, 12 held": item(4096, 0, 16, ENTRIES.astype("<u2").tobytes()),
    "16 declared, 10 held": item(4096, 0, 16, (ENTRIES >> 2).astype("<u2").tobytes()),
    "8 declared, 12 held": item(4096, 0, 8, ENTRIES.astype("<u2").tobytes()),
    "16 bits": item(4096, 0, 16, (ENTRIES * 65535 // 4095).astype("<u2").tobytes()),
    "8 bits, one a word": item(4096, 0, 8, (ENTRIES >> 4).astype("<u2").tobytes()),
    "8 bits, one a byte": item(4096, 0, 8, (ENTRIES >> 4).astype("u1").tobytes()),
    "8 bits, two a number": item(4096, 0, 8, (ENTRIES >> 4).astype("u1").view("<u2").tolist(), "US"),
    "12 bits without gaps": item(4096, 0, 12, packed_bits(ENTRIES, 12)),
    "closed by 4096": item(4096, 0, 16, np.append(ENTRIES[:-1], 4096).astype("<u2").tobytes()),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_view_table_is_scaled_by_what_it_holds(tmp_path: Path, write_dicom: Write, way: str) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, VOILUTSequence=pydicom.Sequence([WAYS[way]]))
    np.testing.assert_allclose(decode_image(path)[:, :, 0], FULL, atol=1)


@pytest.mark.parametrize("way", WAYS)
def test_a_modality_table_is_read_in_every_width(tmp_path: Path, write_dicom: Write, way: str) -> None:
    """PS3.3 C.11.1.1: its output goes on to the window; here without one, so the range of the values is shown."""
    path = write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, ModalityLUTSequence=pydicom.Sequence([WAYS[way]]))
    np.testing.assert_allclose(decode_image(path)[:, :, 0], RAMP * (255 / 4080), atol=1.01)


def test_a_table_of_65536_entries_declares_none(tmp_path: Path, write_dicom: Write) -> None:
    table = item(65536, 0, 16, np.arange(65536).astype("<u2").tobytes())
    path = write_dicom(tmp_path / "a.dcm", np.array([[0, 32768, 65535]], np.uint16), VOILUTSequence=[table])
    assert decode_image(path)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("first", [-2048, 63488])
def test_a_table_may_begin_below_zero_in_either_sign(tmp_path: Path, write_dicom: Write, first: int) -> None:
    """PS3.3 C.11.2.1.1: the second number is signed as the values that it is compared with."""
    table = item(4096, first, 12, ENTRIES.astype("<u2").tobytes(), signed=first < 0)
    stored = np.array([[-2048, 0, 2047, 3000]], np.int16)
    path = write_dicom(tmp_path / "a.dcm", stored, VOILUTSequence=[table])
    assert decode_image(path)[0, :, 0].tolist() == [0, 128, 255, 255]


def test_a_table_is_read_in_the_byte_order_of_its_file(tmp_path: Path, write_dicom: Write) -> None:
    table = item(4096, 0, 12, ENTRIES.astype(">u2").tobytes())
    path = write_dicom(tmp_path / "a.dcm", RAMP, "ExplicitVRBigEndian", BitsStored=12, VOILUTSequence=[table])
    np.testing.assert_allclose(decode_image(path)[:, :, 0], FULL, atol=1)


def test_a_table_that_leaves_one_grey_is_passed_over(tmp_path: Path, write_dicom: Write) -> None:
    table = item(3, 9000, 12, [0, 5, 9], "US")
    path = write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, VOILUTSequence=[table])
    np.testing.assert_allclose(decode_image(path)[:, :, 0], RAMP * (255 / 4080), atol=1)


def test_a_table_shorter_than_it_says_is_damage(tmp_path: Path, write_dicom: Write) -> None:
    table = item(4096, 0, 12, bytes(1000))
    path = write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, VOILUTSequence=[table])
    with pytest.raises(ValueError, match="is damaged: its table of grey values cannot be read"):
        decode_image(path)


@pytest.mark.parametrize(
    ("bits", "form", "entries"),
    [
        (8, "u1", [[10, 250, 0, 3], [20, 128, 0, 2], [30, 7, 0, 1]]),
        (8, "<u2", [[10, 250, 0, 3], [20, 128, 0, 2], [30, 7, 0, 1]]),
        (16, "<u2", [[10, 250, 0, 3], [20, 128, 0, 2], [30, 7, 0, 1]]),  # 8 bits in 16
        (16, "<u2", [[2570, 64250, 0, 771], [5140, 32896, 0, 514], [7710, 1799, 0, 257]]),
    ],
)
@pytest.mark.parametrize("stored", [np.uint8, np.uint16])
def test_a_palette_is_read_in_every_width(
    tmp_path: Path, write_dicom: Write, bits: int, form: str, entries: list[list[int]], stored: type
) -> None:
    """PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6."""
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in zip(("Red", "Green", "Blue"), entries, strict=True):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        palette[f"{colour}PaletteColorLookupTableData"] = np.array(values).astype(form).tobytes()
    path = write_dicom(tmp_path / "a.dcm", np.array([[0, 1, 2, 3]], stored), **palette)
    assert decode_image(path)[0].tolist() == [[10, 20, 30], [250, 128, 7], [0, 0, 0], [3, 2, 1]]
