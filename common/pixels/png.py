"""What Pillow does not do with PNG files: check all of it, see 16 bits of colours, pass over large texts."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.pixels.undecodable import UndecodableError

# Detectors deliver 10 to 16 bits; PNG has no depth between 8 and 16.
_DEPTHS = (8, 10, 12, 14, 16)

_OUTLIERS = 0.005
"""Share of values that may lie beyond: burnt-in letters of 65535 in a picture of 12 bits would darken it 16 times."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_LARGE = 1 << 16  # bytes of a text; Pillow refuses more than 1 MiB unpacked, to which a few thousand can swell

_GREY_ALPHA, _SIGNATURE = 4, 8


def checked_png(content: bytes) -> bytes:
    """``content`` without large texts and profiles, which no picture needs. Raises UndecodableError where the file ends
    before its end mark, or where the checksum of a chunk is wrong: decoders pass over both in silence."""
    kept, place, dropped = [content[:_SIGNATURE]], _SIGNATURE, False
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        kind, end = content[place + 4 : place + 8], place + 12 + length
        if end > len(content):
            break
        if zlib.crc32(memoryview(content)[place + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise UndecodableError("truncated", "is truncated or damaged: a checksum in this PNG file is wrong")
        large = kind in _TEXTS and (length > _LARGE or (kind in (b"zTXt", b"iTXt", b"iCCP") and length > _LARGE // 64))
        dropped |= large
        kept.append(b"" if large else content[place:end])
        if kind == b"IEND":
            return b"".join(kept) if dropped else content
        place = end
    state = "truncated" if len(kept) > 1 else "truncated or damaged"
    raise UndecodableError("truncated", f"is {state}: it begins like a PNG file but cannot be decoded to its end")


def is_wide(content: bytes) -> bool:
    """Whether a PNG file has 16 bits a channel and colours or transparency (https://www.w3.org/TR/png-3/, 11.2.1)."""
    return content[24] == 16 and content[25] in (2, _GREY_ALPHA, 6)


def key_in_terms_of_picture(content: bytes, image: Image.Image) -> None:
    """A transparent grey is given as it is stored (11.3.2.1), but of 2 and 4 bits Pillow has stretched the picture."""
    bits, colour_type = content[24], content[25]
    if colour_type == 0 and bits in (2, 4) and isinstance(key := image.info.get("transparency"), int):
        image.info["transparency"] = key * 255 // (2**bits - 1)


def from_wide_png(content: bytes, image: Image.Image) -> Image.Image:
    """A picture of 16 bits a channel in RGB, on black where it is transparent; ``image`` is the same in Pillow's eyes,
    which see the high bytes only."""
    if content[25] == _GREY_ALPHA:  # four bytes a pixel, as 8-bit RGBA has: read as such nothing is lost
        header = content[12:24] + bytes([8, 6]) + content[26:29]
        patched = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
        with Image.open(io.BytesIO(patched), formats=("PNG",)) as whole:
            pairs = np.asarray(whole).astype(np.uint32)
        wide = pairs[:, :, ::2] << 8 | pairs[:, :, 1::2]
    else:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as low:
            low.tile = [tile._replace(args=f"{low.mode};16L") for tile in low.tile]  # the other byte of each pair
            wide = np.asarray(image).astype(np.uint32) << 8 | np.asarray(low)
    colours, alpha = (wide, None) if wide.shape[2] == 3 else (wide[:, :, :-1], wide[:, :, -1:])
    visible = colours if alpha is None else colours[alpha[:, :, 0] > 0]
    seen = eight_bit(colours, visible)
    if alpha is not None:
        seen = np.rint(seen * (eight_bit(alpha, alpha) / 255)).astype(np.uint8)
    elif "transparency" in image.info:
        seen[(colours == image.info["transparency"]).all(axis=2)] = 0
    return Image.fromarray(np.broadcast_to(seen, (*seen.shape[:2], 3)).copy())


def eight_bit(stored: NDArray[Any], counted: NDArray[Any]) -> NDArray[np.uint8]:
    """``stored`` from the smallest usual depth that holds ``counted``, but for its outliers, which become white."""
    largest = depth_of(counted)
    return ((np.minimum(stored, largest) * 255 + largest // 2) // largest).astype(np.uint8)


def depth_of(values: NDArray[Any]) -> int:
    """The largest number of the smallest usual depth that holds ``values`` of up to 16 bits but for their outliers."""
    most = int(_OUTLIERS * values.size)
    return next(2**depth - 1 for depth in _DEPTHS if np.count_nonzero(values >= 2**depth) <= most)
