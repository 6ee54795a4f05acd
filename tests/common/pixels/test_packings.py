"""Packings of DICOM radiographs that public reports name: the same picture as uncompressed, or the right name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from fedthorax.common.pixels.decode import decode_image, num_outliers, try_decode
from fedthorax.common.records.records import BadFile

Write = Callable[..., Path]
SMOOTH = np.add.outer(np.arange(64) * 30, np.arange(64) * 30).astype(np.uint16)  # up to 3780, 12 bits
WINDOW = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}


def by_gdcm(source: Path, syntax: int) -> Path:
    """The same file packed by another program."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    packed = source.with_name("packed.dcm")
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(packed))
    assert writer.Write()
    return packed


@pytest.mark.parametrize(
    "syntax",
    ["RLELossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless",
     "ExplicitVRBigEndian", "ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian"],
)  # fmt: skip
@pytest.mark.parametrize(("signed", "bits"), [(False, 12), (True, 12), (False, 16), (True, 16), (False, 10)])
def test_every_lossless_packing_by_another_program_gives_the_same(
    tmp_path: Path, write_dicom: Write, syntax: str, signed: bool, bits: int
) -> None:
    """PS3.5 8.2 and annex A."""
    stored = SMOOTH * 16 if bits == 16 else SMOOTH // 4 if bits == 10 else SMOOTH
    elements = {"BitsStored": bits, "WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    if signed:
        stored = (stored.astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)
        elements["WindowCenter"] = 0
    plain = write_dicom(tmp_path / "a.dcm", stored, **elements)
    packed = by_gdcm(plain, getattr(gdcm.TransferSyntax, syntax))
    np.testing.assert_array_equal(decode_image(packed, "xray"), decode_image(plain, "xray"))


def test_a_jpeg_of_12_bits_is_read(tmp_path: Path, write_dicom: Write) -> None:
    """PS3.5 A.4.1: JPEG Extended (processes 2 and 4) has up to 12 bits."""
    plain = write_dicom(tmp_path / "a.dcm", SMOOTH, **WINDOW)
    packed = by_gdcm(plain, gdcm.TransferSyntax.JPEGExtendedProcess2_4)
    assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit
    np.testing.assert_allclose(decode_image(packed, "xray"), decode_image(plain, "xray"), atol=1)


def jpeg(tmp_path: Path, write: Write, frame: Callable[[bytes], bytes] = bytes, **elements: Any) -> Path:
    """SMOOTH in 8 bits, packed as baseline JPEG by Pillow; ``frame`` changes its bytes."""
    path = tmp_path / "picture.jpg"
    Image.fromarray((SMOOTH // 16).astype(np.uint8)).save(path, quality=98)
    dataset = pydicom.dcmread(write(tmp_path / "a.dcm", (SMOOTH // 16).astype(np.uint8)))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate([frame(path.read_bytes())])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


@pytest.mark.parametrize(
    ("frame", "elements"),
    [
        (bytes, {}),
        (lambda packed: packed + bytes(40), {}),  # filled up beyond its end mark
        # PS3.5 8.2.1: the packed picture says how many bits it has.
        (bytes, {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "WindowCenter": 128, "WindowWidth": 256}),
    ],
)
def test_a_baseline_jpeg_is_read_by_its_own_marks(
    tmp_path: Path, write_dicom: Write, frame: Callable[[bytes], bytes], elements: dict[str, Any]
) -> None:
    seen = decode_image(jpeg(tmp_path, write_dicom, frame, **elements), "xray")[:, :, 0]
    np.testing.assert_allclose(seen, SMOOTH // 16, atol=3)


def test_a_jpeg_without_its_end_mark_is_truncated(tmp_path: Path, write_dicom: Write) -> None:
    bad = try_decode(jpeg(tmp_path, write_dicom, lambda packed: packed[:-2] + bytes(40)))
    assert isinstance(bad, BadFile)
    assert bad.fault == "truncated"


@pytest.mark.parametrize("of_codestream", [np.uint16, np.int16])
def test_the_header_says_whether_jpeg_2000_is_signed(tmp_path: Path, write_dicom: Write, of_codestream: Any) -> None:
    """PS3.5 8.2.4: PixelRepresentation holds where the codestream says otherwise."""
    stored = (SMOOTH - 2048).astype(of_codestream) if of_codestream is np.int16 else SMOOTH
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", stored, "JPEG2000Lossless", BitsStored=12))
    dataset.PixelRepresentation = 1 - dataset.PixelRepresentation
    dataset.WindowCenter, dataset.WindowWidth = (0 if dataset.PixelRepresentation else 2048), 4096
    dataset.save_as(tmp_path / "b.dcm")
    bits = stored.astype(np.int32) & 0xFFF
    meant = np.where(bits > 2047, bits - 4096, bits) + 2048 if dataset.PixelRepresentation else bits
    np.testing.assert_allclose(decode_image(tmp_path / "b.dcm")[:, :, 0], np.rint(meant * 255 / 4095), atol=1)
    assert len(list(generate_frames(dataset.PixelData, number_of_frames=1))) == 1


@pytest.mark.parametrize("name", ["monochrome2", "MONOCHROME2 "])
def test_a_photometric_interpretation_is_known_in_small_letters_and_with_spaces(
    tmp_path: Path, write_dicom: Write, name: str
) -> None:
    plain = write_dicom(tmp_path / "a.dcm", SMOOTH, **WINDOW)
    content = plain.read_bytes()
    assert content.count(b"MONOCHROME2 ") == 1
    other = tmp_path / "b.dcm"
    other.write_bytes(content.replace(b"MONOCHROME2 ", name.ljust(12).encode()))
    np.testing.assert_array_equal(decode_image(other), decode_image(plain))


@pytest.mark.parametrize(("burnt", "darkened"), [(0, False), (20, False), (21, True)])
def test_burnt_in_white_does_not_darken_a_radiograph_without_a_window_and_is_counted(
    tmp_path: Path, write_dicom: Write, burnt: int, darkened: bool
) -> None:
    """0.5 % of 4,096 values are 20."""
    stored = SMOOTH.copy()
    stored.ravel()[2000 : 2000 + burnt] = 65535
    path = write_dicom(tmp_path / "a.dcm", stored)
    seen = decode_image(path)[:, :, 0]
    right = np.rint(stored * (255 / (65535 if darkened else 3780))).clip(0, 255)
    np.testing.assert_allclose(seen, right, atol=1)
    assert num_outliers(path.read_bytes()) == (0 if darkened else burnt)
    assert num_outliers(write_dicom(tmp_path / "b.dcm", stored, WindowCenter=2048, WindowWidth=4096).read_bytes()) == 0


@pytest.mark.parametrize(("bits", "unit"), [(8, 1), (16, 257), (16, 16)])
def test_a_segmented_palette_is_unfolded(tmp_path: Path, write_dicom: Write, bits: int, unit: int) -> None:
    """PS3.3 C.7.9.2: one discrete entry, then a line of 63 to the last value; white is by what the table holds."""
    stored = np.arange(64, dtype=np.uint8).reshape(8, 8)
    data = np.array([0, 1, 0, 1, 63, 252 * unit])
    packed = data.astype("<u2").tobytes() if bits == 16 else data.astype(np.uint8).tobytes()
    tables = {}
    for colour in ("Red", "Green", "Blue"):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [64, 0, bits]
        tables[f"Segmented{colour}PaletteColorLookupTableData"] = packed
    path = write_dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="PALETTE COLOR", **tables)
    np.testing.assert_allclose(decode_image(path)[:, :, 0], stored * 4.0, atol=2)


def test_colours_without_a_planar_configuration_lie_pixel_by_pixel(tmp_path: Path, write_dicom: Write) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    path = write_dicom(tmp_path / "a.dcm", colours, PlanarConfiguration=None)
    np.testing.assert_array_equal(decode_image(path), colours)


def test_a_function_in_small_letters_is_the_same_function(tmp_path: Path, write_dicom: Write) -> None:
    path = write_dicom(tmp_path / "a.dcm", SMOOTH, **WINDOW, VOILUTFunction="SIGMOID ")
    right = decode_image(path)
    path.write_bytes(path.read_bytes().replace(b"SIGMOID", b"sigmoid"))
    np.testing.assert_array_equal(decode_image(path), right)
    assert right[0, 0, 0] == 30  # 255 / (1 + e^2), PS3.3 C.11.2.1.3.1


def test_packed_pixels_under_a_syntax_without_packing_are_not_shown_as_they_are(
    tmp_path: Path, write_dicom: Write
) -> None:
    """PS3.5 A.4: only packed pixels have an undefined length."""
    path = jpeg(tmp_path, write_dicom)
    content = path.read_bytes()
    said = b"1.2.840.10008.1.2.4.50"
    path.write_bytes(content.replace(said, b"1.2.840.10008.1.2.1".ljust(len(said), b"\0")))
    bad = try_decode(path)
    assert isinstance(bad, BadFile)
    assert bad.fault == "unsupported"
    assert bad.reason.endswith("they are packed, but it says Explicit VR Little Endian")
