from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fedthorax.common.data.original_size import original_sizes


def dicom(path: Path) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns, data.BitsAllocated = 3, 5, 8
    data.PixelData = np.zeros((3, 5), np.uint8).tobytes() + b"\0"
    data["PixelData"].VR = "OB"
    data.save_as(path)
    return path


def test_sizes_are_read_from_the_header(draw, tmp_path):
    files = [draw(tmp_path / "a.png", height=4, width=6), dicom(tmp_path / "b.dcm")]
    assert original_sizes(files) == [(4, 6), (3, 5)]


def test_what_is_no_image_has_no_size(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    assert original_sizes([tmp_path / "notes.txt", tmp_path / "missing.png"]) == [None, None]
    assert original_sizes([]) == []
