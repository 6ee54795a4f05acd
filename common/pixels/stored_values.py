"""Which bits of a DICOM file are the picture, and where it says that nothing was measured."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.records.dicom_header import number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Stored:
    """``values`` (H, W) or (H, W, 3) as their maker meant them; ``padding`` (H, W) is where nothing was measured, None
    if the file names no such value."""

    values: NDArray[Any]
    padding: NDArray[np.bool_] | None


def stored_of(words: NDArray[Any], dataset: "Dataset", packed: bool) -> Stored:
    """From the ``words`` that a codec gives to the values of which the file speaks (PS3.5 8.1.1): BitsStored bits below
    HighBit, signed by PixelRepresentation. Whatever else is in a word, such as an overlay of an old device, is not the
    picture. ``packed``: by a codec that knows the precision itself, so that values which fit lie in the low bits.
    """
    width = words.dtype.itemsize * 8
    bits = min(int(number(dataset, "BitsStored") or width), width)
    high = int(number(dataset, "HighBit") or 0)
    if words.dtype.kind not in "iu" or bits <= 0:
        return Stored(words, None)
    signed = number(dataset, "PixelRepresentation") == 1
    words = words.astype(words.dtype.newbyteorder("="), copy=False)
    plain = words.view(f"u{words.dtype.itemsize}")
    if not bits - 1 <= high < width or (packed and not _beyond(words, bits)):
        high = bits - 1
    values = words.view(f"{'i' if signed else 'u'}{words.dtype.itemsize}")
    if bits < width:
        values = (plain << (width - 1 - high)).view(values.dtype) >> (width - bits)
    return Stored(values, _padding(dataset, values, plain, bits) if words.ndim == 2 else None)


def _beyond(words: NDArray[Any], bits: int) -> bool:
    """Whether a word is no number of ``bits`` bits, with or without its sign carried on."""
    return bool(words.max() >= 2**bits or words.min() < -(2 ** (bits - 1)))


def _padding(dataset: "Dataset", values: NDArray[Any], words: NDArray[Any], bits: int) -> NDArray[np.bool_] | None:
    """PS3.3 C.7.5.1.1.2. Devices code the value with the wrong sign; it means the same bits as in a pixel. One that
    does not fit into the stored bits can only mean whole words."""
    first, last = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    if first is None:
        return None
    width = words.dtype.itemsize * 8
    ends = [int(end) & (2**width - 1) for end in (first, first if last is None else last)]
    sign = 2 ** (bits - 1) if values.dtype.kind == "i" else 0
    inside = [((end & (2**bits - 1)) ^ sign) - sign for end in ends]
    if all(value & (2**width - 1) == end or end < 2**bits for value, end in zip(inside, ends, strict=True)):
        low, high = sorted(inside)
        return (values >= low) & (values <= high)
    low, high = sorted(ends)
    return (words >= low) & (words <= high)
