"""Look-up tables in DICOM files: of grey values (PS3.3 C.11.1, C.11.2) and of colours (PS3.3 C.7.6.3.1.5); which bits
of a file are the picture, and where it says that nothing was measured.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.records.dicom_header import number, numbers

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


@dataclass(frozen=True)
class Table:
    """``entries`` for stored values from ``first`` on."""

    entries: NDArray[Any]
    first: int

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """The entries for ``values``; beyond the ends the outermost entry."""
        whole = np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values.astype(np.int64)
        first = _first(self.first, len(self.entries), whole)
        return self.entries[np.clip(whole - first, 0, len(self.entries) - 1)]


def read_table(source: "Dataset", little: bool, name: str = "LUT") -> Table:
    """The table in the elements of ``source`` that begin with ``name``; ``little`` is the order of bytes in the file.

    Raises ValueError where it holds less than its descriptor says.
    """
    count, first, bits = (int(part) for part in numbers(source, f"{name}Descriptor"))
    return Table(_entries(source[f"{name}Data"].value, (count & 0xFFFF) or 2**16, bits, little), first)


def coloured(indices: NDArray[Any], dataset: "Dataset", little: bool) -> tuple[NDArray[Any], int]:
    """(H, W, 3) by the palette of ``dataset``, and the value of white. Raises ValueError where it is damaged."""
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(indices, dataset)[:, :, :3]
        return colours, white(colours)
    tables = [read_table(dataset, little, f"{colour}PaletteColorLookupTable") for colour in ("Red", "Green", "Blue")]
    largest = max(white(table.entries) for table in tables)
    return np.stack([table.of(indices) for table in tables], axis=-1), largest


def white(entries: NDArray[Any]) -> int:
    """The largest number of as many bits as the entries need, 8 or more. What the descriptor declares is often 16 for a
    table of 12 bits, which would be seen almost black. 4096 closes a table of 12 bits as 4095 does."""
    return int(2 ** max(8, (max(int(entries.max()), 1) - 1).bit_length()) - 1)


def _first(first: int, length: int, values: NDArray[np.int64]) -> int:
    """The value that the table begins with; its sign is not told apart in the file, so that which suits the picture."""

    def covered(start: int) -> int:
        return int(np.count_nonzero((values >= start) & (values < start + length)))

    return max((first, first - 2**16, first + 2**16), key=covered) if not 0 <= first < 2**15 else first


def _entries(data: Any, count: int, bits: int, little: bool) -> NDArray[np.uint16]:
    """``count`` entries: one a word, else one a byte, else packed without gaps, the lowest bits first."""
    if isinstance(data, bytes):
        words = np.frombuffer(data + b"\0" * (len(data) % 2), "<u2" if little else ">u2").astype(np.uint16)
    else:
        words = (np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF).astype(np.uint16)
    if len(words) >= count:
        return words[:count]
    in_bytes = words.astype("<u2").view(np.uint8)
    if len(in_bytes) >= count and bits <= 8:
        return in_bytes[:count].astype(np.uint16)
    packed = np.unpackbits(in_bytes, bitorder="little")
    if not 8 < bits < 16 or len(packed) < count * bits:
        raise ValueError(f"a table of {count} entries of {bits} bits holds {len(words)} words")
    return (packed[: count * bits].reshape(count, bits) @ (1 << np.arange(bits))).astype(np.uint16)
