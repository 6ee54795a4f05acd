"""The pictures in a DICOM file: radiographs as their maker wants them shown, CT slices in windows."""

import io
import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.config.data import CtWindow
from fedthorax.common.pixels.hounsfield import AIR, windowed
from fedthorax.common.pixels.pillow_image import too_many_pixels
from fedthorax.common.pixels.undecodable import UndecodableError
from fedthorax.common.records.dicom_header import Header, functional_group, header_of, number, numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_XRAY_MODALITIES = ("CR", "DX", "RG", "RF", "XA", "SC", "OT")

_GREY = ("MONOCHROME1", "MONOCHROME2")

# Maps of a dual-energy scanner are stored as CT as well (PS3.3 C.11.1.1.2, Rescale Type).
_NOT_HOUNSFIELD = ("MGML", "Z_EFF", "ED", "EDW", "PCT", "OD")

AXIAL = 0.8
"""Least cosine between the normal of an axial slice and the body's axis: a gantry tilts by up to 30 degrees."""

Frames = Callable[[int], NDArray[np.uint8]]


def open_dicom(
    content: bytes, modality: Literal["xray", "ct"] | None, ct_windows: Sequence[CtWindow]
) -> tuple[int, Frames]:
    """The number of pictures in the bytes of a DICOM file, and the function that decodes one as uint8 (H, W, 3).

    Radiographs: modality LUT or rescale, then the first VOI LUT, else the first window, else the range of the values
    (of 8 bits: all of them); MONOCHROME1 is inverted; padding is black. CT: Hounsfield units in ``ct_windows``, padding
    is air, and an axial slice is turned so that the patient's left is on the right and the back below. Pixels that are
    not square are made so.

    Raises UndecodableError, also for a file of another ``modality`` than expected. Call it within ``silence``.
    """
    dataset = _read(content)
    header = header_of(dataset)
    _check(dataset, header, modality)
    count = len(header.places)
    if header.modality == "CT":
        return count, lambda frame: _ct(dataset, header, frame, ct_windows)
    return count, lambda frame: _radiograph(dataset, header, frame)


def open_dicom_units(content: bytes) -> Callable[[int], NDArray[Any]]:
    """The function that gives a slice (H, W) of the bytes of a CT file in Hounsfield units; call both in silence."""
    dataset = _read(content)
    header = header_of(dataset)
    _check(dataset, header, "ct")
    return lambda frame: _units(dataset, frame)


def _read(content: bytes) -> "Dataset":
    from pydicom import dcmread

    try:
        return dcmread(io.BytesIO(content), force=True)
    except MemoryError:
        raise
    except EOFError:
        raise _truncated() from None
    except Exception:
        reason = "is truncated or damaged: it begins like a DICOM file but its header cannot be read"
        raise UndecodableError("truncated", reason) from None


def _check(dataset: "Dataset", header: Header, modality: Literal["xray", "ct"] | None) -> None:
    kind = header.modality or "not given"
    if header.rows is None or header.columns is None or "BitsAllocated" not in dataset:
        raise UndecodableError("not_an_image", f"is a DICOM file without a picture (modality {kind})")
    if "PixelData" not in dataset or not dataset["PixelData"].value:
        raise _truncated()
    if header.rows * header.columns > (Image.MAX_IMAGE_PIXELS or 0):
        raise too_many_pixels()
    if modality == "ct" and kind != "CT":
        raise UndecodableError("other_modality", f"has the modality {kind}, expected a CT slice")
    if modality == "xray" and header.modality is not None and kind not in _XRAY_MODALITIES:
        raise UndecodableError("other_modality", f"has the modality {kind}, expected an X-ray")


def _pixels(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """Stored values (H, W), or (H, W, 3) in RGB or as indices of a palette."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None:
        implicit, little = dataset.original_encoding
        native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = ImplicitVRLittleEndian if implicit else native
        dataset.file_meta.TransferSyntaxUID = syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:  # pydicom says so of a transfer syntax that it has no decoder for
        raise UndecodableError(
            "unsupported",
            f"is packed in a way that is not read (transfer syntax {syntax.name}); export it uncompressed, or as JPEG, "
            "JPEG-LS, JPEG 2000 or RLE",
        ) from None
    _quiet_codecs()
    try:
        pixels, _ = decoder.as_array(dataset, index=frame)
    except MemoryError:
        raise
    except Exception as error:
        if "less than expected" in str(error) or "insufficient" in str(error):
            raise _truncated() from None
        raise UndecodableError(
            "truncated", f"is truncated or damaged: its pixels cannot be decoded (transfer syntax {syntax.name})"
        ) from None
    return pixels


def _truncated() -> UndecodableError:
    return UndecodableError("truncated", "is truncated: it begins like a DICOM file but ends before its last pixel")


@cache
def _quiet_codecs() -> None:
    """They write to stderr what is wrong with a file, GDCM by itself and the others through their loggers."""
    import gdcm

    for name in ("pydicom", "openjpeg"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()


def _radiograph(dataset: "Dataset", header: Header, frame: int) -> NDArray[np.uint8]:
    stored = _pixels(dataset, frame)
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip().upper()
    if photometric == "PALETTE COLOR" or stored.ndim == 3:
        seen = _colour(dataset, stored, photometric)
    elif photometric in _GREY:
        grey = _shown(dataset, frame, stored, header)
        if photometric == "MONOCHROME1":
            grey = 255 - grey
        if (padding := _padding(dataset, stored)) is not None:
            grey[padding] = 0
        seen = np.repeat(grey[:, :, None], 3, axis=2)
    else:
        raise UndecodableError(
            "unsupported", f"has colours that are not read (photometric interpretation {photometric})"
        )
    return _square_pixels(seen, dataset, frame)


def _colour(dataset: "Dataset", stored: NDArray[Any], photometric: str) -> NDArray[np.uint8]:
    if photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        try:
            stored = apply_color_lut(stored, dataset)[:, :, :3]
        except MemoryError:
            raise  # a fault of this machine, here as below, and none of the file
        except Exception:  # damaged files make parsers fail in any way, here as below
            raise UndecodableError("truncated", "is damaged: its table of colours cannot be read") from None
        bits = stored.dtype.itemsize * 8
    else:
        bits = int(dataset.BitsStored)
    if bits == 8:
        return stored.astype(np.uint8)
    return (stored.astype(np.uint32) * 255 // (2**bits - 1)).astype(np.uint8)


def _shown(dataset: "Dataset", frame: int, stored: NDArray[Any], header: Header) -> NDArray[np.uint8]:
    """Stored values as grey values, before any inversion (PS3.3 C.11.1, C.11.2)."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    try:
        if dataset.get("ModalityLUTSequence"):
            values = apply_modality_lut(stored, dataset)
        else:
            slope, intercept = _rescale(dataset, frame) or (1.0, 0.0)
            values = stored if (slope, intercept) == (1.0, 0.0) else stored * np.float64(slope) + intercept
        view = functional_group(dataset, frame, "FrameVOILUTSequence") or dataset
        if tables := view.get("VOILUTSequence"):
            whole = np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values
            # The table of the first view; its third number says how many bits its entries have.
            return _scaled(apply_voi(whole, view), 0, 2 ** int(tables[0].LUTDescriptor[2]) - 1)
    except MemoryError:
        raise
    except Exception:
        raise UndecodableError("truncated", "is damaged: its table of grey values cannot be read") from None
    center, width = number(view, "WindowCenter"), number(view, "WindowWidth")
    if center is not None and width is not None and width > 0:
        shown = _in_window(values, center, width, str(view.get("VOILUTFunction") or "LINEAR"))
        # A window that misses the picture altogether is a mistake of the device; the range of the values is not.
        if shown.min() != shown.max():
            return shown
    if (header.bits_stored or 16) <= 8 and values is stored:
        lowest = -(2 ** ((header.bits_stored or 8) - 1)) if dataset.get("PixelRepresentation") else 0
        return _scaled(values, lowest, lowest + 2 ** (header.bits_stored or 8) - 1)
    padding = _padding(dataset, stored)
    counted = values if padding is None or padding.all() else values[~padding]
    return _scaled(values, float(counted.min()), float(counted.max()))


def _in_window(values: NDArray[Any], center: float, width: float, function: str) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    exact = values.astype(np.float64)
    if function == "SIGMOID":
        return np.rint(255 / (1 + np.exp(np.clip(-4 * (exact - center) / width, -700, 700)))).astype(np.uint8)
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, max(width - 1, 1e-6)
    return np.rint(np.clip((exact - center) / width + 0.5, 0, 1) * 255).astype(np.uint8)


def _scaled(values: NDArray[Any], lowest: float, highest: float) -> NDArray[np.uint8]:
    if highest <= lowest:
        return np.zeros(values.shape, np.uint8)
    share = (values.astype(np.float64) - lowest) / (highest - lowest)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def _rescale(dataset: "Dataset", frame: int) -> tuple[float, float] | None:
    """Slope and intercept, None if either is missing."""
    source = functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    return None if slope is None or intercept is None else (slope, intercept)


def _padding(dataset: "Dataset", stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where nothing was measured (PS3.3 C.7.5.1.1.2); None if the file names no such value."""
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _ct(dataset: "Dataset", header: Header, frame: int, windows: Sequence[CtWindow]) -> NDArray[np.uint8]:
    hounsfield = _units(dataset, frame)
    seen = windowed(hounsfield, windows)
    return _turned(_square_pixels(seen, dataset, frame), header.places[frame].orientation)


def _units(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """(H, W) in Hounsfield units as stored, not turned; padding is air."""
    rescale = _rescale(dataset, frame)
    kind = str(dataset.get("RescaleType") or "")
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip().upper()
    if photometric not in _GREY or rescale is None or kind.upper() in _NOT_HOUNSFIELD:
        what = "it is a colour picture" if photometric not in _GREY else f"rescale type {kind}"
        missing = "it has no rescale slope and intercept" if rescale is None and photometric in _GREY else what
        raise UndecodableError("unsupported", f"is stored as CT but holds no Hounsfield units: {missing}")
    stored = _pixels(dataset, frame)
    slope, intercept = rescale
    if float(slope).is_integer() and float(intercept).is_integer():
        hounsfield: NDArray[Any] = stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    else:
        hounsfield = stored * np.float64(slope) + intercept
    if (padding := _padding(dataset, stored)) is not None:
        hounsfield[padding] = AIR
    return hounsfield


def _turned(image: NDArray[np.uint8], orientation: Sequence[float] | None) -> NDArray[np.uint8]:
    """An axial slice with the patient's left on the right and the back below; any other picture as it is."""
    if orientation is None:
        return image
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    if abs(np.cross(row, column)[2]) < AXIAL:
        return image
    if abs(row[0]) < abs(row[1]):
        image, row, column = image.transpose(1, 0, 2), column, row
    image = image[:, ::-1] if row[0] < 0 else image
    return np.ascontiguousarray(image[::-1] if column[1] < 0 else image)


def _square_pixels(image: NDArray[np.uint8], dataset: "Dataset", frame: int) -> NDArray[np.uint8]:
    """The shorter side of a pixel decides: no pixel is lost. Sides of zero or of absurd ratios are not believed."""
    measures = functional_group(dataset, frame, "PixelMeasuresSequence") or dataset
    for source, keyword in ((measures, "PixelSpacing"), (dataset, "ImagerPixelSpacing"), (dataset, "PixelAspectRatio")):
        sides = numbers(source, keyword)
        if len(sides) == 2 and min(sides) > 0 and max(sides) / min(sides) <= 8:
            return square_pixels(image, sides[0], sides[1])
    return image


def square_pixels(image: NDArray[np.uint8], pixel_height: float, pixel_width: float) -> NDArray[np.uint8]:
    """``image`` with more rows or columns, so that its pixels of the given sides become square, within 1 %."""
    height, width = image.shape[:2]
    if pixel_height > 1.01 * pixel_width:
        height = round(height * pixel_height / pixel_width)
    elif pixel_width > 1.01 * pixel_height:
        width = round(width * pixel_width / pixel_height)
    else:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
