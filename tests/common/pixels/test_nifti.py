"""A NIfTI volume gives axial slices that lie as a DICOM slice does, however its axes run."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fedthorax.common.config.data import CT_WINDOWS
from fedthorax.common.pixels.decode import decode_frames, decode_image, try_decode
from fedthorax.common.pixels.hounsfield import windowed
from fedthorax.common.pixels.nifti import read_volume
from fedthorax.common.records.records import BadFile, ImageRef

Write = Callable[..., Path]

# x to the right, y to the front, z to the head; 4 x 3 x 2 voxels, each of its own, some of them air
UNITS = (np.arange(24, dtype=np.int16).reshape(4, 3, 2) * 40) - 900


def expected(z: int) -> np.ndarray:
    """From the patient's right to left, from front to back."""
    return windowed(UNITS[::-1, ::-1, z].T, CT_WINDOWS)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("second", [False, True])
def test_slices_count_from_the_feet_and_lie_as_a_radiologist_sees_them(
    tmp_path: Path, write_nifti: Write, name: str, second: bool
) -> None:
    path = write_nifti(tmp_path / name, UNITS, second=second)
    for z in (0, 1):
        np.testing.assert_array_equal(decode_image(ImageRef(path, z), "ct"), expected(z))


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_the_order_of_the_axes_in_the_file_makes_no_difference(
    tmp_path: Path, write_nifti: Write, axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    stored = UNITS.transpose(axes)[:: signs[0], :: signs[1], :: signs[2]]
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (target, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[target, axis] = sign
        affine[target, 3] = 0 if sign > 0 else UNITS.shape[target] - 1
    path = write_nifti(tmp_path / "a.nii", stored, affine)
    assert read_volume(path).heights == (0, 1)
    for z in (0, 1):
        np.testing.assert_array_equal(decode_image(ImageRef(path, z)), expected(z))


def test_values_are_scaled_and_voxels_made_square(tmp_path: Path, write_nifti: Write) -> None:
    image = nibabel.Nifti1Image(UNITS.astype(np.float64), np.diag([2.0, 1.0, 5.0, 1.0]))
    image.set_data_dtype(np.uint8)
    image.to_filename(tmp_path / "a.nii.gz")
    assert 3 < abs(nibabel.load(tmp_path / "a.nii.gz").dataobj.slope) < 4
    seen = decode_image(ImageRef(tmp_path / "a.nii.gz", 1))
    assert seen.shape == (3, 8, 3)
    assert read_volume(tmp_path / "a.nii.gz").heights == (0, 5)
    np.testing.assert_allclose(seen[:, 0], expected(1)[:, 0], atol=2)


def test_what_is_not_a_number_is_air(tmp_path: Path, write_nifti: Write) -> None:
    units = UNITS.astype(np.float32)
    units[0, 0, 0] = np.nan
    seen = decode_image(ImageRef(write_nifti(tmp_path / "a.nii", units), 0))
    np.testing.assert_array_equal(seen[2, 3], windowed(np.array([[-1000]]), CT_WINDOWS)[0, 0])


def _without_orientation(tmp_path: Path, write: Write) -> bytes:
    return bytes(nibabel.Nifti1Image(UNITS, None).to_bytes())


def _pair(tmp_path: Path, write: Write) -> bytes:
    content = bytearray(write(tmp_path / "a.nii", UNITS).read_bytes())
    content[344:348] = b"ni1\0"
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "fault", "reason"),
    [
        (lambda t, w: w(t / "a.nii", UNITS).read_bytes()[:-1], "truncated", "ends before its last voxel"),
        (lambda t, w: w(t / "a.nii", UNITS).read_bytes()[:350], "truncated", "ends before its last voxel"),
        (lambda t, w: w(t / "a.nii.gz", UNITS).read_bytes()[:-9], "truncated", "cannot be unpacked to its end"),
        (lambda t, w: gzip.compress(b"some text"), "not_an_image", "is not an image that can be read"),
        (_without_orientation, "unsupported", "does not say how the patient lies in it"),
        (_pair, "unsupported", "is one half of a pair of NIfTI files"),
        (lambda t, w: w(t / "a.nii", np.zeros((2, 2, 2, 3), np.int16)).read_bytes(), "unsupported", "of 4 dimensions"),
        (lambda t, w: w(t / "a.nii", np.zeros((2, 2), np.int16)).read_bytes(), "unsupported", "of 2 dimensions"),
        (lambda t, w: w(t / "a.nii", np.zeros((2, 2, 2), np.complex64)).read_bytes(), "unsupported", "one number a"),
        (lambda t, w: w(t / "a.nii", np.repeat(UNITS, 9, 0) + 2000).read_bytes(), "unsupported", "neither air (-1000)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, write_nifti: Write, content: Callable[..., bytes], fault: str, reason: str
) -> None:
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(content(tmp_path, write_nifti))
    bad = try_decode(ImageRef(path, 0))
    assert isinstance(bad, BadFile)
    assert (bad.fault, bad.frame) == (fault, 0)
    assert reason in bad.reason


def test_a_volume_is_no_single_picture_and_no_x_ray(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(tmp_path / "a.nii", UNITS)
    assert try_decode(path) == BadFile(path, "holds 2 pictures, expected one")
    assert try_decode(ImageRef(path, 0), "xray") == BadFile(path, "is a NIfTI volume, expected an X-ray", 0)
    assert isinstance(try_decode(write_nifti(tmp_path / "one.nii", UNITS[:, :, :1])), np.ndarray)


def test_a_few_bytes_cannot_unpack_to_a_full_memory(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((32000, 32000, 32000))
    header["vox_offset"], header["magic"], header["qform_code"] = 352, b"n+1", 1
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(10**6)))
    bad = next(decode_frames(path, path.read_bytes(), [0]))
    assert isinstance(bad, BadFile)
    assert bad.reason == "holds more than 4 GiB of voxels, far beyond any chest CT"


def test_changed_bytes_anywhere_in_a_packed_volume_are_found(tmp_path: Path, write_nifti: Write) -> None:
    """RFC 1952: the checksum of the whole stands behind the last voxel."""
    units = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 4)).astype(np.int16)
    content = write_nifti(tmp_path / "a.nii.gz", units).read_bytes()
    for place in range(len(content) - 200, len(content), 9):
        (tmp_path / "a.nii.gz").write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        bad = try_decode(ImageRef(tmp_path / "a.nii.gz", 0))
        assert isinstance(bad, BadFile), place
        assert bad.fault == "truncated"


def test_an_extension_behind_the_header_is_passed_over(tmp_path: Path) -> None:
    """NIfTI-1, "extended header": programs such as AFNI write their history there."""
    image = nibabel.Nifti1Image(UNITS, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 2000))
    image.to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(decode_image(ImageRef(tmp_path / "a.nii.gz", 1)), expected(1))
    assert read_volume(tmp_path / "a.nii.gz").heights == (0, 1)


def test_voxels_that_begin_inside_the_header_are_damage(tmp_path: Path, write_nifti: Write) -> None:
    content = bytearray(write_nifti(tmp_path / "a.nii", UNITS).read_bytes())
    content[108:112] = bytes(4)  # vox_offset
    (tmp_path / "a.nii").write_bytes(content)
    bad = try_decode(ImageRef(tmp_path / "a.nii", 0))
    assert isinstance(bad, BadFile)
    assert bad.fault == "truncated"
