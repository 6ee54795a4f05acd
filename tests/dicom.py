"""DICOM files as devices write them, of values that a test gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid

_ENCODERS = {
    "RLELossless": "pydicom",
    "JPEG2000Lossless": "pylibjpeg",
    "JPEG2000": "pylibjpeg",
    "JPEGLSLossless": "pyjpegls",
    "JPEGLSNearLossless": "pyjpegls",
}


def write_dicom(
    path: Path,
    stored: np.ndarray,
    syntax: str = "ExplicitVRLittleEndian",
    preamble: bool = True,
    encoding: dict[str, Any] | None = None,
    **elements: Any,
) -> Path:
    """Writes a DICOM file of ``stored`` values (H, W), (H, W, 3) or (frames, H, W).

    By default a computed radiograph of as many bits as the values have; further elements by keyword, None removes one.
    ``syntax`` is the name of a transfer syntax of pydicom.uid; the lossy ones get the options of their encoder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = _radiograph(stored, elements)
    if hasattr(uid, syntax) and getattr(uid, syntax).is_encapsulated:
        dataset.compress(
            getattr(uid, syntax), encoding_plugin=_ENCODERS[syntax], generate_instance_uid=False, **(encoding or {})
        )
    else:
        dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax)
    if syntax == "ExplicitVRBigEndian":
        dataset.PixelData = stored.byteswap().tobytes()
    if preamble:
        dataset.save_as(path, enforce_file_format=True)
    else:
        syntax_uid = dataset.file_meta.TransferSyntaxUID
        del dataset.file_meta
        pydicom.dcmwrite(path, dataset, implicit_vr=syntax_uid.is_implicit_VR, little_endian=True)
    return path


def write_ct(path: Path, units: np.ndarray, height: float = 0.0, **elements: Any) -> Path:
    """Writes an axial CT slice of Hounsfield units (H, W) at a height in millimetres; further elements by keyword."""
    facts = {
        "SOPClassUID": uid.CTImageStorage,
        "Modality": "CT",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SeriesInstanceUID": "1.2.3",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, height],
    }
    return write_dicom(path, (np.asarray(units) + 1024).astype(np.int16), **(facts | elements))


def _radiograph(stored: np.ndarray, elements: dict[str, Any]) -> pydicom.Dataset:
    colours = stored.ndim == 3 and stored.shape[-1] == 3
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = uid.generate_uid(entropy_srcs=[str(sorted(elements)), stored.tobytes().hex()])
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = stored.shape[:2] if stored.ndim == 2 or colours else stored.shape[1:]
    dataset.SamplesPerPixel = 3 if colours else 1
    if colours:
        dataset.PlanarConfiguration = 0
    if stored.ndim == 3 and not colours:
        dataset.NumberOfFrames = len(stored)
    dataset.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored = dataset.BitsAllocated
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for keyword, value in elements.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    dataset.HighBit = elements.get("HighBit", dataset.BitsStored - 1)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    return dataset
