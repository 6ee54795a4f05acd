"""CT slices are seen in windows of Hounsfield units, whoever stored them in whatever way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid

from fedthorax.common.config.data import CT_WINDOWS, CtSlices, CtWindow
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.pixels.ct_region import lung_share
from fedthorax.common.pixels.decode import decode_image, try_decode
from fedthorax.common.pixels.dicom_pixels import open_dicom_units
from fedthorax.common.pixels.hounsfield import looked_at, not_hounsfield, windowed
from fedthorax.common.records.listing import list_images
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


def slice_of_a_body(shift: int = 0, corners: int | None = None, lungs: bool = True) -> np.ndarray:
    """Air of -1000, lung, fat, muscle and a little bone, all with noise, ``shift``ed; unmeasured ``corners``."""
    rows, columns = np.ogrid[-64:64, -64:64]
    distance, rng = np.hypot(rows, columns), np.random.default_rng(0)
    units = np.select([distance < 20, distance < 24, distance < 40, distance < 50], [-850, 800, 50, -100], -1000)
    units = units if lungs else np.where(distance < 20, 50, units)
    units = units + np.rint(rng.normal(0, 12, units.shape)).astype(int) + shift
    return units if corners is None else np.where(distance > 64, corners, units)


INSIDE = slice_of_a_body(lungs=False)[24:104, 24:104]
WINDOWED = windowed(slice_of_a_body(), CT_WINDOWS)[:, :, 1]
FORGOTTEN, TWICE, NEITHER = "1024 too high", "1024 too low", "neither air"


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        ([slice_of_a_body()], None),
        ([slice_of_a_body(corners=-2048)], None),
        ([slice_of_a_body(corners=-3024)], None),
        ([np.full((64, 64), -1000), slice_of_a_body()], None),
        ([np.full((64, 64), 40), slice_of_a_body()], None),
        ([np.full((64, 64), -1000)], None),  # nothing to tell by
        ([INSIDE], None),
        ([INSIDE[:40, :40]], None),
        ([np.clip(slice_of_a_body(), -1000, 400)], None),
        ([slice_of_a_body(1024)], FORGOTTEN),  # air at 24
        ([slice_of_a_body(1000)], FORGOTTEN),  # air at 0
        ([np.maximum(slice_of_a_body(1000), 0)], FORGOTTEN),
        ([slice_of_a_body(1024, corners=-2000)], FORGOTTEN),
        ([slice_of_a_body(1024, corners=-1000)], FORGOTTEN),
        ([slice_of_a_body(1024, corners=0)] * 3, FORGOTTEN),
        ([INSIDE + 1024], FORGOTTEN),
        ([np.pad(slice_of_a_body(1024, corners=-1000), 32, constant_values=24)], FORGOTTEN),  # a small body
        ([np.pad(slice_of_a_body(1024, corners=-2000), 32, constant_values=24)], FORGOTTEN),
        ([np.where(np.arange(128) < 40, -2048, slice_of_a_body())[:12]], None),  # air and an unmeasured corner alone
        ([np.where(np.arange(128) < 40, -2000, WINDOWED)], NEITHER),
        ([slice_of_a_body(-1024)], TWICE),
        ([slice_of_a_body(-1024, corners=-2048)], TWICE),
        ([slice_of_a_body(32768)], NEITHER),
        ([WINDOWED], NEITHER),
        ([WINDOWED / 255], NEITHER),
        ([np.clip(slice_of_a_body(), -160, 240)], NEITHER),
        ([np.arange(4096).reshape(64, 64)], NEITHER),
    ],
)
def test_values_are_hounsfield_units_where_air_and_tissue_lie_in_place(
    slices: list[np.ndarray], reason: str | None
) -> None:
    found = not_hounsfield(slices)
    assert found is None if reason is None else reason in str(found)


def test_the_first_slice_that_holds_both_answers_for_the_series() -> None:
    asked = []

    def series() -> Iterator[np.ndarray]:
        for number in looked_at(300):
            asked.append(number)
            yield slice_of_a_body()

    assert not_hounsfield(series()) is None
    assert asked == [150]
    assert looked_at(1) == [0]
    assert sorted(looked_at(2)) == [0, 1]
    assert len(looked_at(300)) == 9


def test_a_map_of_a_dual_energy_scanner_says_so_in_its_frames(tmp_path: Path, write_dicom: Write) -> None:
    """PS3.3 C.7.6.16.2.9: of an enhanced file the type stands beside slope and intercept."""
    item, group = pydicom.Dataset(), pydicom.Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 1, 0, "MGML"
    group.PixelValueTransformationSequence = pydicom.Sequence([item])
    path = write_dicom(
        tmp_path / "a.dcm",
        np.full((4, 4), 100, np.int16),
        Modality="CT",
        SharedFunctionalGroupsSequence=pydicom.Sequence([group]),
    )
    bad = try_decode(path, "ct")
    assert isinstance(bad, BadFile)
    assert "rescale type MGML" in bad.reason


def test_raw_values_are_refused_for_the_whole_series_and_for_a_volume(
    tmp_path: Path, write_ct: Write, write_nifti: Write
) -> None:
    for number in range(3):
        for name, shift in (("good", 0), ("raw", 1024)):
            units = slice_of_a_body(shift, lungs=number > 0)
            elements = {"SeriesInstanceUID": f"1.{len(name)}", "PhotometricInterpretation": "MONOCHROME1"}
            write_ct(tmp_path / f"{name}/{number}.dcm", units, float(number), **elements)
    for name, shift in (("good", 0), ("raw", 1024)):
        volume = np.stack([slice_of_a_body(shift, -2000)] * 2, axis=-1).astype(np.float64)
        write_nifti(tmp_path / f"{name}.nii.gz", volume)
    found = find_slices(list_images(tmp_path).images, CtSlices())
    assert {slice_.name for slice_ in found.slices if slice_.name.endswith(".dcm")} == {
        f"good/{n}.dcm" for n in range(3)
    }
    assert sorted(bad.path.name for bad in found.bad) == ["0.dcm", "1.dcm", "2.dcm"]
    assert {bad.fault for bad in found.bad} == {"other_scale"}
    assert all(FORGOTTEN in bad.reason for bad in found.bad)
    assert isinstance(try_decode(ImageRef(tmp_path / "good.nii.gz", 0), "ct"), np.ndarray)
    bad = try_decode(ImageRef(tmp_path / "raw.nii.gz", 0), "ct")
    assert isinstance(bad, BadFile)
    assert FORGOTTEN in bad.reason


def test_slices_of_a_series_whose_intercept_was_forgotten_are_refused_and_the_others_kept(
    tmp_path: Path, write_ct: Write
) -> None:
    for number in range(6):
        forgotten = number in (0, 5)
        elements = {"RescaleIntercept": 0} if forgotten else {}
        write_ct(tmp_path / f"{number}.dcm", slice_of_a_body(), float(number), **elements)
    found = find_slices(list_images(tmp_path).images, CtSlices())
    assert [slice_.name for slice_ in found.slices] == ["1.dcm", "2.dcm", "3.dcm", "4.dcm"]
    assert [bad.path.name for bad in found.bad] == ["0.dcm", "5.dcm"]


def test_slices_without_a_series_are_judged_one_by_one(tmp_path: Path, write_ct: Write) -> None:
    write_ct(tmp_path / "good.dcm", slice_of_a_body(), SeriesInstanceUID=None)
    write_ct(tmp_path / "raw.dcm", slice_of_a_body(1024), SeriesInstanceUID=None)
    found = find_slices(list_images(tmp_path).images, CtSlices())
    assert [slice_.name for slice_ in found.slices] == ["good.dcm"]
    assert [bad.path.name for bad in found.bad] == ["raw.dcm"]


@pytest.mark.real_data
def test_no_real_slice_is_called_raw_and_each_is_when_it_is_shifted(real_data: Path) -> None:
    """The figures stand in docs/formats.md."""
    found, frames = {0: 0, 1024: 0, 1000: 0, -1024: 0}, 0
    for path in sorted((real_data / "dicom").glob("ct_*/*.dcm")):
        units = open_dicom_units(path.read_bytes())(0).astype(int)
        frames += 1
        for shift in found:
            found[shift] += not_hounsfield([units + shift]) is not None
    assert (frames, found) == (29, {0: 0, 1024: 29, 1000: 29, -1024: 28})
