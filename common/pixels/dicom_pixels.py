"""The pictures in a DICOM file: radiographs as their maker wants them shown, CT slices in windows."""

import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.config.data import CtWindow
from fedthorax.common.pixels.grey_tables import Stored, coloured, read_table, stored_of, white
from fedthorax.common.pixels.hounsfield import AIR, windowed
from fedthorax.common.pixels.pillow_image import frame_header, too_many_pixels
from fedthorax.common.pixels.png import depth_of
from fedthorax.common.pixels.undecodable import UndecodableError
from fedthorax.common.records.body_region import XRAY_MODALITIES
from fedthorax.common.records.dicom_header import Header, functional_group, header_of, num_frames, number, numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# PS3.3 C.7.6.3: without them nobody knows what a pixel means.
_NEEDED = (
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)

_AS_STORED: Any = {"correct_unused_bits": False}  # words whole: `stored_of` takes the picture out of them

_OTHER_PIXELS = ("FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")

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
    dataset, header = _read(content, modality)
    decode = partial(_ct, windows=ct_windows) if header.modality == "CT" else _radiograph

    def picture(frame: int) -> NDArray[np.uint8]:
        with _damage_named():
            return decode(dataset, header, frame)

    return len(header.places), picture


def open_dicom_units(content: bytes) -> Callable[[int], NDArray[Any]]:
    """The function that gives a slice (H, W) of the bytes of a CT file in Hounsfield units; call both in silence."""
    dataset, _ = _read(content, "ct")

    def units(frame: int) -> NDArray[Any]:
        with _damage_named():
            return _units(dataset, frame)

    return units


def range_of_values(content: bytes) -> NDArray[Any] | None:
    """The values that give the range of a radiograph of more than 8 bits; None where a window or table does so."""
    dataset, header = _read(content, None)
    told = ("WindowCenter", "VOILUTSequence", "ModalityLUTSequence")
    if header.modality == "CT" or dataset.PhotometricInterpretation not in _GREY or any(map(dataset.get, told)):
        return None
    if header.bits_stored is not None and header.bits_stored <= 8:
        return None
    stored = _pixels(dataset, 0)
    return _measured(stored.values, stored)


def _read(content: bytes, modality: Literal["xray", "ct"] | None) -> "tuple[Dataset, Header]":
    from pydicom import dcmread

    with _damage_named():
        dataset = dcmread(io.BytesIO(content), force=True)
        header = header_of(dataset)
        _check(dataset, header, modality)
    return dataset, header


@contextmanager
def _damage_named() -> Iterator[None]:
    """Elements are parsed when they are asked for, and a damaged one can fail in any way."""
    try:
        yield
    except (UndecodableError, MemoryError):  # the second is a fault of this machine
        raise
    except EOFError:
        raise _truncated() from None
    except Exception:
        reason = "is truncated or damaged: it begins like a DICOM file but its header cannot be read"
        raise UndecodableError("truncated", reason) from None


def _check(dataset: "Dataset", header: Header, modality: Literal["xray", "ct"] | None) -> None:
    kind = header.modality or "not given"
    if header.rows is None and header.modality is not None and kind not in (*XRAY_MODALITIES, "CT"):
        raise UndecodableError("not_an_image", f"is a DICOM file without a picture (modality {kind})")
    if any(keyword in dataset for keyword in _OTHER_PIXELS):
        raise UndecodableError("unsupported", "holds its picture as fractions or at another place, expected Pixel Data")
    if header.rows is None or header.columns is None or "PixelData" not in dataset or not dataset["PixelData"].value:
        raise _truncated()
    if missing := [keyword for keyword in _NEEDED if dataset.get(keyword) is None]:
        raise UndecodableError("unsupported", f"does not say how its pixels are stored: its header lacks {missing[0]}")
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    if photometric not in (*_GREY, *_COLOURS):
        reason = f"has colours that are not read (photometric interpretation {photometric})"
        raise UndecodableError("unsupported", reason)
    if dataset.SamplesPerPixel == 1 and photometric in _COLOURS[1:]:
        raise UndecodableError("unsupported", f"has a header that contradicts itself: {photometric} of one sample")
    dataset.PhotometricInterpretation = photometric
    if dataset.get("PlanarConfiguration") is None:
        dataset.PlanarConfiguration = 0  # by far the most usual, and of packed pictures without a meaning
    if header.rows * header.columns > (Image.MAX_IMAGE_PIXELS or 0):
        raise too_many_pixels()
    if modality == "ct" and kind != "CT":
        raise UndecodableError("other_modality", f"has the modality {kind}, expected a CT slice")
    if modality == "xray" and header.modality is not None and kind not in XRAY_MODALITIES:
        raise UndecodableError("other_modality", f"has the modality {kind}, expected an X-ray")


def _pixels(dataset: "Dataset", frame: int) -> Stored:
    """Stored values (H, W), or (H, W, 3) in RGB; of a palette its indices."""
    from pydicom import uid
    from pydicom.encaps import get_frame
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None:
        implicit, little = dataset.original_encoding
        native = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        syntax = uid.ImplicitVRLittleEndian if implicit else native
        dataset.file_meta.TransferSyntaxUID = syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:  # pydicom says so of a transfer syntax that it has no decoder for
        raise UndecodableError(
            "unsupported",
            f"is packed in a way that is not read (transfer syntax {syntax.name}); export it uncompressed, or as JPEG, "
            "JPEG-LS, JPEG 2000 or RLE",
        ) from None
    if dataset["PixelData"].is_undefined_length != syntax.is_encapsulated:  # PS3.5 A.4
        state = "not packed" if syntax.is_encapsulated else "packed"
        raise UndecodableError(
            "unsupported", f"has a header that contradicts its pixels: they are {state}, but it says {syntax.name}"
        )
    _quiet_codecs()
    packed = b""
    try:
        if syntax.is_encapsulated and syntax != uid.RLELossless:
            packed = get_frame(dataset.PixelData, frame, number_of_frames=num_frames(dataset))
        if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit) and (found := frame_header(packed)):
            if found[1] == 8:  # whatever the header says
                dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            else:  # GDCM reads them by the marks of the picture, but pydicom does not let it
                dataset.file_meta.TransferSyntaxUID = uid.JPEGLossless
                decoder = get_decoder(uid.JPEGLossless)
        words, _ = decoder.as_array(dataset, index=frame, **_AS_STORED)
    except MemoryError:
        raise
    except Exception as error:
        if "less than expected" in str(error) or "insufficient" in str(error):
            raise _truncated() from None
        if (stated := re.search(r"\(0028,\d{4}\) '([^']*)' value of '?([^' ]*)", str(error))) is not None:
            words_of_it = f"has a header that contradicts itself or its picture: {stated[1]} is {stated[2]}"
            raise UndecodableError("unsupported", words_of_it) from None
        raise UndecodableError(
            "truncated", f"is truncated or damaged: its pixels cannot be decoded (transfer syntax {syntax.name})"
        ) from None
    # JPEG, JPEG-LS and JPEG 2000 close with this mark, after which some devices fill up: without it, their decoders
    # fill up in silence what is missing.
    if packed and b"\xff\xd9" not in packed.rstrip(b"\0")[-16:]:
        raise _truncated()
    return stored_of(words, dataset, bool(packed))


def _little(dataset: "Dataset") -> bool:
    return bool(dataset.original_encoding[1])


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
    photometric = str(dataset.PhotometricInterpretation)
    stored = _pixels(dataset, frame)
    if photometric not in _GREY or stored.values.ndim == 3:
        seen = _colour(dataset, stored.values, photometric)
    else:
        grey = _shown(dataset, frame, stored, header)
        if photometric == "MONOCHROME1":
            grey = 255 - grey
        if stored.padding is not None:
            grey[stored.padding] = 0
        seen = np.repeat(grey[:, :, None], 3, axis=2)
    return _square_pixels(seen, dataset, frame)


def _colour(dataset: "Dataset", stored: NDArray[Any], photometric: str) -> NDArray[np.uint8]:
    largest = white(stored)
    if photometric == "PALETTE COLOR":
        try:
            stored, largest = coloured(stored, dataset, _little(dataset))
        except MemoryError:
            raise  # a fault of this machine, here as below, and none of the file
        except Exception:  # damaged files make parsers fail in any way, here as below
            raise UndecodableError("truncated", "is damaged: its table of colours cannot be read") from None
    return _scaled(stored, 0, largest)


def _shown(dataset: "Dataset", frame: int, stored: Stored, header: Header) -> NDArray[np.uint8]:
    """Stored values as grey values, before any inversion (PS3.3 C.11.1, C.11.2)."""
    values = stored.values
    try:
        if tables := dataset.get("ModalityLUTSequence"):
            values = read_table(tables[0], _little(dataset)).of(values)
        else:
            slope, intercept = _rescale(dataset, frame) or (1.0, 0.0)
            if slope != 0 and (slope, intercept) != (1.0, 0.0):  # a slope of 0 would leave one grey: a mistake
                values = values * np.float64(slope) + intercept
        view = functional_group(dataset, frame, "FrameVOILUTSequence") or dataset
        if tables := view.get("VOILUTSequence"):
            table = read_table(tables[0], _little(dataset))  # that of the first view
            entries = table.of(values)
            # A table or window that misses the picture altogether is a mistake of the device; the range is not.
            if entries.min() != entries.max():
                return _scaled(entries, 0, white(table.entries))
    except MemoryError:
        raise
    except Exception:
        raise UndecodableError("truncated", "is damaged: its table of grey values cannot be read") from None
    center, width = number(view, "WindowCenter"), number(view, "WindowWidth")
    if center is not None and width is not None and width > 0:
        shown = _in_window(values, center, width, str(view.get("VOILUTFunction") or "LINEAR").strip().upper())
        if shown.min() != shown.max():
            return shown
    bits = header.bits_stored or 16
    if bits <= 8 and values is stored.values:
        lowest = -(2 ** (bits - 1)) if values.dtype.kind == "i" else 0
        return _scaled(values, lowest, lowest + 2**bits - 1)
    counted = _measured(values, stored)
    if counted.max() < 2**16:  # without outliers such as burnt-in letters
        counted = counted[counted <= depth_of(counted)]
    return _scaled(values, float(counted.min()), float(counted.max()))


def _measured(values: NDArray[Any], stored: Stored) -> NDArray[Any]:
    return values if stored.padding is None or stored.padding.all() else values[~stored.padding]


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


def _ct(dataset: "Dataset", header: Header, frame: int, windows: Sequence[CtWindow]) -> NDArray[np.uint8]:
    hounsfield = _units(dataset, frame)
    seen = windowed(hounsfield, windows)
    return _turned(_square_pixels(seen, dataset, frame), header.places[frame].orientation)


def _units(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """(H, W) in Hounsfield units as stored, not turned; padding is air."""
    rescale = _rescale(dataset, frame)
    scale = functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    kind = str(scale.get("RescaleType") or "")
    photometric = str(dataset.PhotometricInterpretation)
    reasons = (
        (photometric not in _GREY, "it is a colour picture"),
        (rescale is None, "it has no rescale slope and intercept"),
        (rescale is not None and rescale[0] == 0, "its rescale slope is 0"),
        (kind.upper() in _NOT_HOUNSFIELD, f"rescale type {kind}"),
    )
    if rescale is None or any(holds for holds, _ in reasons):
        missing = next(words for holds, words in reasons if holds)
        raise UndecodableError("unsupported", f"is stored as CT but holds no Hounsfield units: {missing}")
    stored = _pixels(dataset, frame)
    slope, intercept = rescale
    if float(slope).is_integer() and float(intercept).is_integer():
        hounsfield: NDArray[Any] = stored.values.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    else:
        hounsfield = stored.values * np.float64(slope) + intercept
    if stored.padding is not None:
        hounsfield[stored.padding] = AIR
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
