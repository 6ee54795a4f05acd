"""PNG and JPEG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels.png import checked_png, eight_bit, from_wide_png, is_wide, key_in_terms_of_picture
from fedthorax.common.pixels.undecodable import UndecodableError

MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}

# Empty where the process is read if its samples have 8 bits.
_FRAME_HEADERS = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC9, 0xCA), ""),
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG file"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical JPEG file"),
    0xF7: "JPEG-LS file",
}

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(content: bytes) -> NDArray[np.uint8]:
    """The picture in the bytes of a PNG or JPEG file, as uint8 (H, W, 3); of several frames the first.

    Colour profiles and PNG gamma are not applied: they differ by a barely visible shade, and most radiographs carry
    none. Raises UndecodableError.
    """
    kind = next(name for magic, name in MAGIC.items() if content.startswith(magic))
    if kind == "PNG":
        content = checked_png(content)
    try:
        with silence(), Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            image.load()
            if kind == "PNG":
                key_in_terms_of_picture(content, image)
            seen = from_wide_png(content, image) if kind == "PNG" and is_wide(content) else _as_seen(image)
            orientation = _orientation(image)
            return np.array(seen.transpose(_TRANSPOSITIONS[orientation]) if orientation in _TRANSPOSITIONS else seen)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise too_many_pixels() from None
    except MemoryError:
        raise
    # A damaged file can make a parser fail in any way; it has to be named, and must not end the run by itself.
    except Exception as error:
        if kind == "JPEG" and (reason := _rare_jpeg(content)):
            raise UndecodableError("unsupported", reason) from None
        state = "truncated" if "truncated" in str(error).lower() else "truncated or damaged"
        reason = f"is {state}: it begins like a {kind} file but cannot be decoded to its end"
        raise UndecodableError("truncated", reason) from None


def too_many_pixels() -> UndecodableError:
    limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
    return UndecodableError("unsupported", f"has more than {limit} million pixels, far beyond any radiograph")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Damaged EXIF data beside an intact picture: upright is the best guess.
        return 1


def frame_header(content: bytes) -> tuple[int, int] | None:
    """The marker of the process, and the bits of a sample, of a JPEG picture (ITU-T T.81, table B.1)."""
    place = 2
    while place + 5 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4])
        if marker in _FRAME_HEADERS:
            return marker, content[place + 4]
        place += 1 if marker == 0xFF else 2 + length
    return None


def _rare_jpeg(content: bytes) -> str | None:
    """What is said of a JPEG file of a process that browsers do not show."""
    marker, bits = frame_header(content) or (0xC0, 8)
    kind = _FRAME_HEADERS[marker] or (f"JPEG file of {bits} bits" if bits != 8 else None)
    return kind and f"is a {kind}, which is not read; export it as PNG or DICOM"


def _as_seen(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        stored, key = np.asarray(image).astype(np.uint32), image.info.get("transparency")
        grey = eight_bit(stored, stored if key is None else stored[stored != key])
        image = Image.fromarray(grey if key is None else np.where(stored == key, np.uint8(0), grey))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")
