"""Whatever the mode and the size, a file decodes to a picture of its shape, and a damaged one gives a reason."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fedthorax.common.pixels.decode import decode_frames, fit_square, pixel_digest
from fedthorax.common.records.records import BadFile

Write = Callable[..., Path]

# Files are written into one folder over and over: nothing of one example is left for the next.
SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),  # the examples are tiny; making them smaller takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

SIDES = st.tuples(st.integers(1, 24), st.integers(1, 24))
LARGER_SIDES = st.tuples(st.integers(32, 40), st.integers(32, 40))  # the encoder of JPEG 2000 wants no less
DEPTHS = st.sampled_from([(np.uint8, 8), (np.uint8, 5), (np.uint16, 10), (np.uint16, 12), (np.uint16, 16)])
LOSSLESS = ("ExplicitVRLittleEndian", "ImplicitVRLittleEndian", "RLELossless", "JPEG2000Lossless", "JPEGLSLossless")


def decode(content: bytes, frame: int | None = None, **options: Any) -> np.ndarray | BadFile:
    return next(decode_frames(Path("x"), content, [frame], **options))


def pictures(mode: str) -> st.SearchStrategy[Image.Image]:
    bands = len(Image.new(mode, (1, 1)).getbands())
    dtype = np.uint16 if mode == "I;16" else np.uint8
    shapes = SIDES if bands == 1 else SIDES.map(lambda sides: (*sides, bands))
    if mode == "1":
        return hnp.arrays(np.bool_, SIDES).map(Image.fromarray)
    return hnp.arrays(dtype, shapes).map(
        lambda pixels: Image.fromarray(pixels).convert("P") if mode == "P" else Image.fromarray(pixels)
    )


@given(data=st.data(), mode=st.sampled_from(["1", "L", "P", "LA", "RGB", "RGBA", "I;16"]))
@SETTINGS
def test_a_png_of_any_mode_keeps_its_shape_and_what_is_opaque(data: st.DataObject, mode: str) -> None:
    picture = data.draw(pictures(mode))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    seen = decode(stream.getvalue())
    assert isinstance(seen, np.ndarray)
    assert (seen.dtype, seen.shape) == (np.uint8, (picture.height, picture.width, 3))
    if mode in ("1", "L", "P", "RGB"):
        np.testing.assert_array_equal(seen, np.asarray(picture.convert("RGB")))
    if mode == "I;16":
        order = np.argsort(np.asarray(picture).ravel(), kind="stable")
        assert (np.diff(seen[:, :, 0].ravel()[order].astype(int)) >= 0).all(), "brighter stays brighter"


@given(picture=pictures("RGB") | pictures("L"), quality=st.integers(60, 100))
@SETTINGS
def test_a_jpeg_keeps_its_shape(picture: Image.Image, quality: int) -> None:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    seen = decode(stream.getvalue())
    assert isinstance(seen, np.ndarray)
    assert (seen.dtype, seen.shape) == (np.uint8, (picture.height, picture.width, 3))


@given(data=st.data(), depth=DEPTHS, signed=st.booleans(), inverted=st.booleans())
@SETTINGS
def test_a_radiograph_gives_the_same_pixels_in_every_lossless_packing(
    tmp_path: Path, write_dicom: Write, data: st.DataObject, depth: tuple[type, int], signed: bool, inverted: bool
) -> None:
    dtype, bits = depth
    stored = data.draw(hnp.arrays(dtype, LARGER_SIDES, elements=st.integers(0, 2**bits - 1)))
    if signed:
        stored = (stored.astype(np.int32) - 2 ** (bits - 1)).astype(np.dtype(dtype).str.replace("u", "i"))
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    syntax = data.draw(st.sampled_from(LOSSLESS[1:]))
    raw, packed = (
        write_dicom(tmp_path / "a.dcm", stored, packing, BitsStored=bits, PhotometricInterpretation=photometric)
        .read_bytes()
        for packing in (LOSSLESS[0], syntax)
    )  # fmt: skip
    seen = decode(raw, modality="xray")
    assert isinstance(seen, np.ndarray)
    assert (seen.dtype, seen.shape) == (np.uint8, (*stored.shape, 3))
    np.testing.assert_array_equal(decode(packed, modality="xray"), seen)
    order = np.argsort(stored.ravel(), kind="stable")
    steps = np.diff(seen[:, :, 0].ravel()[order].astype(int))
    assert (steps <= 0).all() if inverted else (steps >= 0).all()


@given(units=hnp.arrays(np.int16, SIDES, elements=st.integers(-3000, 4000)), intercept=st.integers(-2048, 0))
@SETTINGS
def test_a_ct_slice_depends_on_its_units_alone(tmp_path: Path, write_ct: Write, units: Any, intercept: int) -> None:
    plain = write_ct(tmp_path / "a.dcm", units).read_bytes()
    moved = write_ct(tmp_path / "b.dcm", units - 1024 - intercept, RescaleIntercept=intercept).read_bytes()
    seen = decode(plain, modality="ct")
    assert isinstance(seen, np.ndarray)
    assert seen.shape == (*units.shape, 3)
    np.testing.assert_array_equal(decode(moved, modality="ct"), seen)


FILES = ("png", "jpeg", "volume", *LOSSLESS)


@pytest.fixture
def content_of(tmp_path: Path, write_dicom: Write) -> Callable[[str], bytes]:
    """The bytes of a small file of noise in one of FILES."""

    def content(kind: str) -> bytes:
        noise = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
        if kind in ("png", "jpeg"):
            stream = io.BytesIO()
            Image.fromarray(noise).save(stream, kind)
            return stream.getvalue()
        if kind == "volume":
            return gzip.compress(nibabel.Nifti1Image(noise[:, :, None] - np.int16(900), np.eye(4)).to_bytes())
        return write_dicom(tmp_path / "a.dcm", noise, kind).read_bytes()

    return content


@given(data=st.data(), kind=st.sampled_from(FILES))
@SETTINGS
def test_a_truncated_file_gives_a_reason(data: st.DataObject, content_of: Callable[[str], bytes], kind: str) -> None:
    content = content_of(kind)
    length = data.draw(st.integers(0, len(content) - 16))
    bad = decode(content[:length])
    assert isinstance(bad, BadFile)
    assert bad.fault in ("truncated", "not_an_image")
    assert bad.reason.startswith(("is ", "holds "))
    assert "\n" not in bad.reason


@given(data=st.data(), kind=st.sampled_from(FILES))
@settings(SETTINGS, max_examples=200)
def test_damaged_bytes_give_a_picture_or_a_reason_and_never_an_error(
    data: st.DataObject, content_of: Callable[[str], bytes], kind: str
) -> None:
    content = bytearray(content_of(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    seen = decode(bytes(content))
    if isinstance(seen, BadFile):
        assert seen.reason
    else:
        assert (seen.dtype, seen.ndim, seen.shape[2]) == (np.uint8, 3, 3)


@given(st.binary(max_size=600))
@SETTINGS
def test_any_bytes_give_a_reason(content: bytes) -> None:
    assert isinstance(decode(content), BadFile)


@given(pixels=hnp.arrays(np.uint8, SIDES.map(lambda s: (*s, 3))), size=st.integers(1, 40))
@SETTINGS
def test_any_picture_fits_any_square_within_its_range(pixels: np.ndarray, size: int) -> None:
    for aspect in ("pad", "squash"):
        square = fit_square(pixels, size, aspect)  # type: ignore[arg-type]
        assert (square.dtype, square.shape) == (np.uint8, (size, size, 3))
        assert square.max() <= pixels.max()
    assert pixel_digest(pixels) == pixel_digest(pixels.copy(order="F"))


def test_an_element_of_no_known_kind_is_damage_and_no_error(tmp_path: Path, write_dicom: Write) -> None:
    """Found by the test of damaged bytes: elements are parsed when they are asked for."""
    content = write_dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.uint8)).read_bytes()
    place = content.index(b"\x28\x00\x04\x00CS")
    bad = decode(content[: place + 4] + b"\x43\xc5" + content[place + 6 :])
    assert isinstance(bad, BadFile)
    assert bad.fault == "truncated"
