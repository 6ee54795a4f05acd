from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from fedthorax.common.pixels.original_size import original_sizes


def dicom(path: Path) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = 3, 5
    data.save_as(path)
    return path


def test_sizes_are_read_from_the_header(draw, tmp_path):
    volume = tmp_path / "c.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 6, 4), np.int16), np.diag([-1, -1, 2, 1])), volume)
    files = [draw(tmp_path / "a.png", height=4, width=6), dicom(tmp_path / "b.dcm"), volume, volume]
    assert original_sizes(files) == [(4, 6), (3, 5), (6, 8), (6, 8)]


def test_what_is_no_image_has_no_size(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    assert original_sizes([tmp_path / "notes.txt", tmp_path / "missing.png"]) == [None, None]
    assert original_sizes([]) == []
