"""CT slices are seen in windows of Hounsfield units, whoever stored them in whatever way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid

from fedthorax.common.config.data import CT_WINDOWS, CtWindow
from fedthorax.common.pixels.decode import decode_image, try_decode
from fedthorax.common.pixels.hounsfield import windowed
from fedthorax.common.pixels.lung_area import lung_share
from fedthorax.common.records.records import BadFile, ImageRef

Write = Callable[..., Path]


def test_three_windows_are_the_three_colours() -> None:
    units = np.array([[-1350, -1000, -600, 50, 150, 225, 400, 1300]])
    seen = windowed(units, CT_WINDOWS)
    assert seen.dtype == np.uint8
    lung, mediastinum, bone = (seen[0, :, channel].tolist() for channel in range(3))
    # lung -1350..150, mediastinum -125..225, bone -500..1300; less than air is air
    assert lung == [60, 60, 128, 238, 255, 255, 255, 255]
    assert mediastinum == [0, 0, 0, 128, 200, 255, 255, 255]
    assert bone == [0, 0, 0, 78, 92, 103, 128, 255]


def test_a_single_window_is_grey_and_parts_of_units_are_rounded() -> None:
    seen = windowed(np.array([[0.4, 99.6, np.float64(9000)]]), [CtWindow(center=50, width=100)])
    np.testing.assert_array_equal(seen, [[[0] * 3, [255] * 3, [255] * 3]])


def test_a_window_beyond_all_tissue_is_possible() -> None:
    seen = windowed(np.array([[3000, 6000, 8000]]), [CtWindow(center=6000, width=4000)])
    assert seen[0, :, 0].tolist() == [0, 128, 255]


def test_all_ways_of_storing_the_same_units_look_the_same(tmp_path: Path, write_ct: Write, write_dicom: Write) -> None:
    units = np.array([[-1000, -600, 40, 400, 1200, 0]], np.int16)
    expected = windowed(units, CT_WINDOWS)
    facts: dict[str, Any] = {"Modality": "CT", "SOPClassUID": uid.CTImageStorage}
    ways = [
        write_ct(tmp_path / "signed.dcm", units),
        write_dicom(tmp_path / "zero.dcm", units, RescaleSlope=1, RescaleIntercept=0, **facts),
        write_dicom(
            tmp_path / "unsigned.dcm",
            ((units.astype(int) + 1024) * 2).astype(np.uint16),
            RescaleSlope=0.5,
            RescaleIntercept=-1024,
            BitsStored=13,
            **facts,
        ),
        # How the file itself would be shown has nothing to do with its units.
        write_ct(
            tmp_path / "inverse.dcm", units, PhotometricInterpretation="MONOCHROME1", WindowCenter=9, WindowWidth=9
        ),
    ]
    for path in ways:
        np.testing.assert_array_equal(decode_image(path, "ct"), expected, err_msg=path.name)


def test_padding_is_air_and_tells_nothing_of_the_scanner(tmp_path: Path, write_ct: Write) -> None:
    air = windowed(np.array([[-1000]]), CT_WINDOWS)[0, 0]
    # GE pads with -2000 (here -3024 HU), Toshiba stores -2048 HU without saying so; some pad with white.
    general = write_ct(tmp_path / "a.dcm", np.array([[-3024, 40]]), PixelPaddingValue=-2000)
    silent = write_ct(tmp_path / "b.dcm", np.array([[-2048, 40]]))
    bright = write_ct(tmp_path / "c.dcm", np.array([[3071, 40]]), PixelPaddingValue=4095)
    for path in (general, silent, bright):
        np.testing.assert_array_equal(decode_image(path)[0, 0], air)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        ([1, 0, 0, 0, 1, 0], [[1, 2, 3], [4, 5, 6]]),
        ([-1, 0, 0, 0, -1, 0], [[6, 5, 4], [3, 2, 1]]),  # lying on the belly
        ([-1, 0, 0, 0, 1, 0], [[3, 2, 1], [6, 5, 4]]),
        ([0, 1, 0, 1, 0, 0], [[1, 4], [2, 5], [3, 6]]),
        ([0, -1, 0, 1, 0, 0], [[4, 1], [5, 2], [6, 3]]),
        ([1, 0, 0, 0, 0.94, -0.34], [[1, 2, 3], [4, 5, 6]]),  # a gantry tilted by 20 degrees
    ],
)
def test_an_axial_slice_is_turned_with_the_left_on_the_right_and_the_back_below(
    tmp_path: Path, write_ct: Write, orientation: list[float], stored: list[list[int]]
) -> None:
    path = write_ct(tmp_path / "a.dcm", np.array(stored) * 100, ImageOrientationPatient=orientation)
    seen = decode_image(path, ct_windows=[CtWindow(center=500, width=1000)])[:, :, 0]
    np.testing.assert_array_equal(np.rint(seen / 25.5), [[1, 2, 3], [4, 5, 6]])


def test_a_coronal_slice_is_not_turned(tmp_path: Path, write_ct: Write) -> None:
    path = write_ct(tmp_path / "a.dcm", np.array([[100, 200]]), ImageOrientationPatient=[-1, 0, 0, 0, 0, -1])
    assert np.diff(decode_image(path, ct_windows=[CtWindow(center=500, width=1000)])[0, :, 0].astype(int)) > 0


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"RescaleSlope": None}, "holds no Hounsfield units: it has no rescale slope and intercept"),
        ({"RescaleType": "Z_EFF"}, "holds no Hounsfield units: rescale type Z_EFF"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "holds no Hounsfield units: it is a colour picture"),
    ],
)
def test_a_ct_file_without_units_is_refused(
    tmp_path: Path, write_ct: Write, elements: dict[str, Any], reason: str
) -> None:
    bad = try_decode(write_ct(tmp_path / "a.dcm", np.zeros((2, 2)), **elements))
    assert isinstance(bad, BadFile)
    assert bad.fault == "unsupported"
    assert reason in bad.reason


def test_the_frames_of_an_enhanced_file_have_their_own_scale_and_pixels(tmp_path: Path, write_dicom: Write) -> None:
    def sequence(keyword: str, **elements: Any) -> pydicom.Dataset:
        group, item = pydicom.Dataset(), pydicom.Dataset()
        for name, value in elements.items():
            setattr(item, name, value)
        setattr(group, keyword, pydicom.Sequence([item]))
        return group

    per_frame = [
        sequence("PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=offset, RescaleType="HU")
        for offset in (-1000, 0)
    ]
    path = write_dicom(
        tmp_path / "a.dcm",
        np.full((2, 2, 4), 100, np.int16),
        Modality="CT",
        SOPClassUID=uid.EnhancedCTImageStorage,
        PerFrameFunctionalGroupsSequence=pydicom.Sequence(per_frame),
        SharedFunctionalGroupsSequence=pydicom.Sequence([sequence("PixelMeasuresSequence", PixelSpacing=[2, 1])]),
    )
    for frame, unit in enumerate((-900, 100)):
        image = decode_image(ImageRef(path, frame), "ct")
        assert image.shape == (4, 4, 3)
        np.testing.assert_array_equal(image[0, 0], windowed(np.array([[unit]]), CT_WINDOWS)[0, 0])


def body(lung_radius: int) -> np.ndarray:
    """A round body of radius 100 in a picture of 256 x 256 with one round lung in the middle."""
    rows, columns = np.ogrid[-128:128, -128:128]
    distance = np.hypot(rows, columns)
    return np.where(distance <= lung_radius, -800, np.where(distance <= 100, 40, -1000))


@pytest.mark.parametrize(("radius", "share"), [(0, 0.0), (30, 0.09), (60, 0.36)])
def test_the_share_of_lung_is_that_of_the_areas(radius: int, share: float) -> None:
    units = body(radius)
    if radius == 0:
        units[128, 128] = 40
    assert lung_share(units) == pytest.approx(share, abs=0.01)


def test_air_alone_holds_no_lung() -> None:
    assert lung_share(np.full((64, 64), -1000)) == 0.0
