"""A DICOM radiograph is seen as its maker wants it shown, however it is packed."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from fedthorax.common.pixels.decode import decode_frames, decode_image, try_decode
from fedthorax.common.records.records import BadFile, ImageRef

Write = Callable[..., Path]
SMOOTH = (np.add.outer(np.arange(48), 2 * np.arange(40)) * 30).astype(np.uint16)  # 12 bits


def grey(image: np.ndarray) -> list[int]:
    """The first row, of which all colours are the same."""
    assert image.dtype == np.uint8
    assert (image == image[:, :, :1]).all()
    return image[0, :, 0].tolist()


def row(*values: int, dtype: type = np.uint16) -> np.ndarray:
    return np.array([values], dtype)


def test_monochrome1_is_inverted(tmp_path: Path, write_dicom: Write) -> None:
    path = write_dicom(tmp_path / "a.dcm", row(0, 10, 255, dtype=np.uint8), PhotometricInterpretation="MONOCHROME1")
    assert grey(decode_image(path)) == [255, 245, 0]


@pytest.mark.parametrize(
    ("stored", "elements", "seen"),
    [
        # Without a window: 8 bits are shown as they are, more bits from their smallest to their largest value.
        (row(10, 20, 200, dtype=np.uint8), {}, [10, 20, 200]),
        (row(0, 32, 63, dtype=np.uint8), {"BitsStored": 6}, [0, 130, 255]),
        (row(100, 300, 500), {"BitsStored": 10}, [0, 128, 255]),
        (row(-100, 0, 100, dtype=np.int16), {"BitsStored": 12}, [0, 128, 255]),
        (row(7, 7, 7), {}, [0, 0, 0]),
        # LINEAR, by the formula of the standard: width 101 shows center - 0.5 - 50 and less black.
        (row(0, 50, 75, 100, 200), {"WindowCenter": 50.5, "WindowWidth": 101}, [0, 128, 191, 255, 255]),
        (row(0, 50, 100), {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}, [0, 128, 255]),
        (row(0, 50, 100), {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"}, [30, 128, 225]),
        # Of several windows the first.
        (row(0, 50, 100), {"WindowCenter": [50.5, 9], "WindowWidth": [101, 2]}, [0, 128, 255]),
        # The window holds for rescaled values.
        (row(0, 25, 50), {"RescaleSlope": 2, "RescaleIntercept": 10, "WindowCenter": 60.5, "WindowWidth": 101},
         [0, 128, 255]),
        # A window of no width or beside the picture is a mistake: the range of the values instead.
        (row(0, 50, 100), {"WindowCenter": 50, "WindowWidth": 0}, [0, 128, 255]),
        (row(0, 50, 100), {"WindowCenter": 9000, "WindowWidth": 10}, [0, 128, 255]),
        # Padding is black and does not count for the range.
        (row(0, 1000, 1100, 1200), {"PixelPaddingValue": 0}, [0, 0, 128, 255]),
        (row(3, 5, 100, 200, 300), {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 9}, [0, 0, 0, 128, 255]),
        (row(4095, 100, 200), {"PixelPaddingValue": 4095, "PhotometricInterpretation": "MONOCHROME1"}, [0, 255, 0]),
    ],
)  # fmt: skip
def test_stored_values_become_grey_values(
    tmp_path: Path, write_dicom: Write, stored: np.ndarray, elements: dict[str, Any], seen: list[int]
) -> None:
    assert grey(decode_image(write_dicom(tmp_path / "a.dcm", stored, **elements))) == seen


def lookup_table(entries: list[int], first: int, bits: int) -> pydicom.Sequence:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return pydicom.Sequence([item])


def test_a_table_of_grey_values_goes_before_the_window(tmp_path: Path, write_dicom: Write) -> None:
    table = lookup_table([0, 4095, 1024], first=10, bits=12)
    path = write_dicom(
        tmp_path / "a.dcm", row(9, 10, 11, 12, 99), VOILUTSequence=table, WindowCenter=50, WindowWidth=100
    )
    assert grey(decode_image(path)) == [0, 0, 255, 64, 64]


def test_a_modality_table_goes_before_the_window(tmp_path: Path, write_dicom: Write) -> None:
    table = lookup_table([0, 100, 50], first=0, bits=16)
    table[0].ModalityLUTType = "US"
    path = write_dicom(tmp_path / "a.dcm", row(0, 1, 2), ModalityLUTSequence=table, WindowCenter=50.5, WindowWidth=101)
    assert grey(decode_image(path)) == [0, 255, 128]


def test_bits_beyond_those_stored_are_not_seen(tmp_path: Path, write_dicom: Write) -> None:
    """Old devices drew overlays there."""
    path = write_dicom(tmp_path / "a.dcm", row(0xF000, 0x1800, 0x0FFF), BitsStored=12)
    assert grey(decode_image(path)) == [0, 128, 255]
    negative = write_dicom(tmp_path / "b.dcm", row(0x0800, 0x1000, 0x07FF).astype(np.int16), BitsStored=12)
    assert grey(decode_image(negative)) == [0, 128, 255]


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({}, (4, 6)),
        ({"PixelAspectRatio": [2, 1]}, (8, 6)),
        ({"PixelSpacing": [0.1, 0.2]}, (4, 12)),
        ({"ImagerPixelSpacing": [0.3, 0.1]}, (12, 6)),
        ({"PixelSpacing": [0.1, 0.1], "PixelAspectRatio": [2, 1]}, (4, 6)),
        ({"PixelSpacing": [0, 0]}, (4, 6)),
        ({"PixelAspectRatio": [500, 1]}, (4, 6)),
        ({"PixelSpacing": [0.1, 0.1005]}, (4, 6)),
    ],
)
def test_pixels_are_made_square(
    tmp_path: Path, write_dicom: Write, elements: dict[str, Any], shape: tuple[int, int]
) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.arange(24, dtype=np.uint8).reshape(4, 6), **elements)
    assert decode_image(path).shape == (*shape, 3)


def test_colours_are_seen_as_colours(tmp_path: Path, write_dicom: Write) -> None:
    colours = np.array([[[250, 10, 20], [5, 200, 30]]], np.uint8)
    np.testing.assert_array_equal(decode_image(write_dicom(tmp_path / "rgb.dcm", colours)), colours)
    wide = (colours.astype(np.uint16) * 257).astype(np.uint16)
    np.testing.assert_array_equal(decode_image(write_dicom(tmp_path / "wide.dcm", wide)), colours)
    luminance = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    path = write_dicom(tmp_path / "ybr.dcm", luminance, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(decode_image(path), colours, atol=3)
    palette = {
        f"{name}PaletteColorLookupTable{part}": value
        for name, entries in (("Red", [9, 250]), ("Green", [8, 10]), ("Blue", [7, 20]))
        for part, value in (("Descriptor", [2, 0, 8]), ("Data", bytes(entries)))
    }
    path = write_dicom(
        tmp_path / "palette.dcm", row(1, 0, dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR", **palette
    )
    np.testing.assert_array_equal(decode_image(path), [[[250, 10, 20], [9, 8, 7]]])


@pytest.mark.parametrize("stored", [SMOOTH, (SMOOTH // 16).astype(np.uint8), SMOOTH.astype(np.int16) - 2000])
@pytest.mark.parametrize(
    "syntax",
    [
        "ImplicitVRLittleEndian",
        "ExplicitVRBigEndian",
        "DeflatedExplicitVRLittleEndian",
        "RLELossless",
        "JPEG2000Lossless",
        "JPEGLSLossless",
    ],
)
def test_every_lossless_packing_gives_the_same_pixels(
    tmp_path: Path, write_dicom: Write, stored: np.ndarray, syntax: str
) -> None:
    raw = decode_image(write_dicom(tmp_path / "raw.dcm", stored))
    assert len(np.unique(raw)) > 100
    np.testing.assert_array_equal(decode_image(write_dicom(tmp_path / "packed.dcm", stored, syntax)), raw)


def test_lossless_jpeg_is_read(tmp_path: Path, write_dicom: Write) -> None:
    import gdcm

    path = write_dicom(tmp_path / "raw.dcm", SMOOTH, BitsStored=12)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "jpeg.dcm"))
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "jpeg.dcm").file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1
    np.testing.assert_array_equal(decode_image(tmp_path / "jpeg.dcm"), decode_image(path))


def test_lossy_packings_differ_by_their_loss_only(tmp_path: Path, write_dicom: Write) -> None:
    rough = SMOOTH + np.random.default_rng(0).integers(0, 100, SMOOTH.shape).astype(np.uint16)
    raw = decode_image(write_dicom(tmp_path / "raw.dcm", rough)).astype(int)
    lossy = [
        write_dicom(tmp_path / "j2k.dcm", rough, "JPEG2000", encoding={"j2k_cr": [4]}),
        write_dicom(tmp_path / "jls.dcm", rough, "JPEGLSNearLossless", encoding={"jls_error": 20}),
    ]
    for path in lossy:
        assert 0 < np.abs(decode_image(path).astype(int) - raw).max() <= 8


def _baseline_jpeg(tmp_path: Path, write_dicom: Write) -> Path:
    stored = (SMOOTH // 16).astype(np.uint8)
    path = write_dicom(tmp_path / "raw.dcm", stored)
    packed = io.BytesIO()
    Image.fromarray(stored).save(packed, "JPEG", quality=95)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "jpeg.dcm")
    return tmp_path / "jpeg.dcm"


def test_baseline_jpeg_differs_by_its_loss_only(tmp_path: Path, write_dicom: Write) -> None:
    packed = decode_image(_baseline_jpeg(tmp_path, write_dicom)).astype(int)
    assert np.abs(packed - (SMOOTH // 16)[:, :, None]).max() <= 8


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "ImplicitVRLittleEndian"])
@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("name", ["a.dcm", "1.2.840.113619", "IM000001", "a.png"])
def test_a_dicom_file_is_known_by_its_content(
    tmp_path: Path, write_dicom: Write, syntax: str, preamble: bool, name: str
) -> None:
    path = write_dicom(tmp_path / name, row(0, 100, 200), syntax, preamble)
    assert (path.read_bytes()[128:132] == b"DICM") == preamble
    assert grey(decode_image(path)) == [0, 128, 255]


def test_a_picture_of_another_modality_is_refused_where_one_is_expected(tmp_path: Path, write_dicom: Write) -> None:
    chest, head = (write_dicom(tmp_path / f"{m}.dcm", row(1, 2), Modality=m) for m in ("DX", "MR"))
    assert isinstance(try_decode(chest, "xray"), np.ndarray)
    assert try_decode(chest, "ct") == BadFile(chest, "has the modality DX, expected a CT slice")
    assert try_decode(head, "xray") == BadFile(head, "has the modality MR, expected an X-ray")
    unknown = write_dicom(tmp_path / "none.dcm", row(1, 2), Modality=None)
    assert isinstance(try_decode(unknown, "xray"), np.ndarray)


def _refused(path: Path, **elements: Any) -> Path:
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("change", "fault", "reason"),
    [
        (lambda p: _refused(p, Rows=None, Modality="SR"), "not_an_image", "is a DICOM file without a picture"),
        (lambda p: _refused(p, PixelData=None), "truncated", "is truncated: it begins like a DICOM file"),
        (lambda p: _refused(p, PixelRepresentation=None), "unsupported",
         "does not say how its pixels are stored: its header lacks PixelRepresentation"),
        (lambda p: _refused(p, Rows=None), "truncated", "is truncated: it begins like a DICOM file"),
        (lambda p: _refused(p, PixelData=bytes(100)), "truncated", "is truncated: .* ends before its last pixel"),
        (lambda p: _refused(p, Rows=60000, Columns=60000), "unsupported", "has more than 89 million pixels"),
        (lambda p: _refused(p, PhotometricInterpretation="CMYK"), "unsupported", "has colours that are not read"),
        (lambda p: _refused(p, NumberOfFrames=2, PixelData=SMOOTH.tobytes() * 2), "unsupported", "holds 2 pictures"),
        (lambda p: _refused(p, BitsAllocated=17), "unsupported", ".* contradicts .*: Bits Allocated is 17"),
        (lambda p: _refused(p, BitsStored=20), "unsupported", ".* contradicts .*: Bits Stored is 20"),
        (lambda p: _refused(p, PhotometricInterpretation="YBR_FULL"), "unsupported", ".* contradicts itself: YBR_FULL"),
    ],
)  # fmt: skip
def test_a_dicom_file_that_cannot_be_seen_is_refused_with_its_reason(
    tmp_path: Path, write_dicom: Write, change: Callable[[Path], Path], fault: str, reason: str
) -> None:
    bad = try_decode(change(write_dicom(tmp_path / "a.dcm", SMOOTH)))
    assert isinstance(bad, BadFile)
    assert bad.fault == fault
    with pytest.raises(ValueError, match=f"a.dcm: {reason}"):
        decode_image(bad.path)


def test_a_film_is_refused_by_the_name_of_its_packing(tmp_path: Path, write_dicom: Write) -> None:
    path = _baseline_jpeg(tmp_path, write_dicom)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.MPEG4HP41
    dataset.save_as(path)
    bad = try_decode(path)
    assert isinstance(bad, BadFile)
    assert bad.fault == "unsupported"
    assert bad.reason.startswith("is packed in a way that is not read (transfer syntax MPEG-4 AVC/H.264 High Profile")


@pytest.mark.parametrize(
    "syntax", ["ExplicitVRLittleEndian", "RLELossless", "JPEG2000Lossless", "JPEGLSLossless", "jpeg"]
)
def test_a_truncated_file_is_named_as_such_wherever_it_ends(tmp_path: Path, write_dicom: Write, syntax: str) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    path = _baseline_jpeg(tmp_path, write_dicom) if syntax == "jpeg" else write_dicom(tmp_path / "a.dcm", noise, syntax)
    content = path.read_bytes()
    assert isinstance(next(decode_frames(path, content, [None])), np.ndarray)
    for length in range(200, len(content) - 8, 97):
        bad = next(decode_frames(path, content[:length], [None]))
        assert isinstance(bad, BadFile), f"{length} of {len(content)} bytes gave a picture"
        assert bad.fault in ("truncated", "not_an_image"), (length, bad.reason)


def test_frames_of_a_film_are_decoded_one_by_one(tmp_path: Path, write_dicom: Write) -> None:
    stored = np.array([[[0, 9]], [[5, 6]], [[9, 0]]], np.uint8)
    path = write_dicom(tmp_path / "a.dcm", stored)
    assert [grey(decode_image(ImageRef(path, frame))) for frame in range(3)] == [[0, 9], [5, 6], [9, 0]]
    bad = try_decode(ImageRef(path, 3))
    assert bad == BadFile(path, "holds 3 pictures, so there is no number 3 counted from 0", 3)
    with pytest.raises(ValueError, match=r"a.dcm \(slice 3\): holds 3 pictures"):
        decode_image(ImageRef(path, 3))


def test_running_out_of_memory_is_not_called_a_damaged_file(
    tmp_path: Path, write_dicom: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object) -> None:
        raise MemoryError

    path = write_dicom(tmp_path / "a.dcm", SMOOTH)
    monkeypatch.setattr("fedthorax.common.pixels.dicom_pixels._in_window", exhaust)
    monkeypatch.setattr("fedthorax.common.pixels.dicom_pixels._scaled", exhaust)
    with pytest.raises(MemoryError):
        decode_image(path)
