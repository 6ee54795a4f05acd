"""Look-up tables in DICOM files: of grey values (PS3.3 C.11.1, C.11.2) and of colours (PS3.3 C.7.6.3.1.5)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.records.dicom_header import numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


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
