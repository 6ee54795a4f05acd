"""The real DICOM files: each decodes or is left out with its reason, and one radiograph in three packings is one."""

from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.data import CT_WINDOWS, CtSlices
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.pixels.decode import decode_image, try_decode
from fedthorax.common.pixels.hounsfield import windowed
from fedthorax.common.records.dicom_header import read_header
from fedthorax.common.records.listing import list_images

pytestmark = pytest.mark.real_data


def test_every_file_decodes_and_has_a_header(real_data: Path) -> None:
    images = list_images(real_data / "dicom").images
    assert len(images) == 35
    for path in images.values():
        image = try_decode(path)
        assert isinstance(image, np.ndarray), image
        header = read_header(path)
        assert header is not None
        assert image.shape == (header.rows, header.columns, 3), "all of these have square pixels"
        assert len(np.unique(image)) > 50


def test_the_packings_of_one_radiograph_agree(real_data: Path) -> None:
    folder = real_data / "dicom/cr_chest"
    raw, lossless, lossy = (decode_image(folder / f"RG1_{name}.dcm", "xray") for name in ("UNCR", "J2KR", "J2KI"))
    np.testing.assert_array_equal(lossless, raw)
    difference = np.abs(lossy.astype(int) - raw)
    assert 0 < difference.max() <= 8
    assert difference.mean() < 0.5


def test_the_same_pixels_called_monochrome1_are_the_negative(real_data: Path) -> None:
    folder = real_data / "dicom/cr_chest"
    positive = decode_image(folder / "rsna_1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm")
    np.testing.assert_array_equal(255 - decode_image(folder / "rsna_Fake_MONOHR1.dcm"), positive)


def test_coronal_slices_scouts_and_abdomens_are_left_out(real_data: Path) -> None:
    found = find_slices(list_images(real_data / "dicom").images, CtSlices())
    assert not found.bad
    reasons = {left.path.name: left.reason for left in found.left_out if "modality" not in left.reason}
    assert {name[:19]: reason for name, reason in reasons.items()} == {
        "A002304_coronal_190": "is a coronal slice, expected an axial one",
        "A062055_coronal_190": "is a coronal slice, expected an axial one",
        "A058062_axial_19001": "shows no chest: the series is called ABD/PEL 2.5 MM",
        "A058062_axial_19010": "shows no chest: the series is called ABD/PEL 2.5 MM",
        "A067967_axial_19001": "shows no chest: the body part is called ABDOMEN",
        "CT_JPEG70.dcm": "is a scout view (localizer), not a CT slice",
    }
    assert len(reasons) == 8
    assert len(found.slices) == 21


def test_the_share_of_lung_tells_chest_from_belly(real_data: Path) -> None:
    images = list_images(real_data / "dicom/ct_chest_nysbu").images
    kept = {slice_.name[:20] for slice_ in find_slices(images, CtSlices(min_lung_share=0.04)).slices}
    assert len(kept) == 13
    assert not any(name.startswith(("A027284", "A062055")) for name in kept), "their slices show the belly"


def test_the_corners_beyond_the_scanner_s_circle_look_like_air_for_every_maker(real_data: Path) -> None:
    air = windowed(np.array([[-1000]]), CT_WINDOWS)[0, 0]
    images = list_images(real_data / "dicom/ct_chest_nysbu").images
    padded = [path for name, path in images.items() if "axial" in name and "19001203-066" not in name]
    for path in padded:
        image = decode_image(path, "ct")
        np.testing.assert_array_equal(image[[0, 0, -1, -1], [0, -1, 0, -1]], [air] * 4, err_msg=path.name)
